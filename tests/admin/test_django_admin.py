"""Django's own admin has a link to the page, and nothing else of it changes."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOST = """
import sys
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=sys.modules[__name__],
    SECRET_KEY="a secret of the tests",
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "django.contrib.messages", "django.contrib.sessions", "plugreg.adapters.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
import django
django.setup()
from django.contrib import admin
from django.urls import path
from plugreg import PluginRegistry
from plugreg.adapters import django as adapter
from plugreg.api import Actor
registry = PluginRegistry("shop")
registry.load()
def identify(request):
    user = request.user
    return Actor(user.pk, is_staff=user.is_staff, is_superuser=user.is_superuser)
urlpatterns = [path("admin/", admin.site.urls)]
urlpatterns += adapter.urlpatterns(registry, identify=identify, prefix="operate", admin=PAGE)
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("ada"))
index = client.get("/admin/")
print(index.status_code, b'<a href="/operate/admin/">Plugins</a>' in index.content)
print(client.get("/operate/admin/").status_code)
"""


@pytest.mark.parametrize(
    ("page", "expected"), [("True", "200 True\n200"), ("False", "200 False\n404")]
)
def test_the_index_has_a_link_where_the_page_is_served(page, expected):
    """A superuser of Django comes from one to the other, and the host's prefix is in the link."""
    code = HOST.replace("admin=PAGE", f"admin={page}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected
