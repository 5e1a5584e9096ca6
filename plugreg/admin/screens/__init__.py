"""The screens of the page: functions from a visit to a screen, or to a redirect after a change."""
