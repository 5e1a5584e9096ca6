// Draws the panel in the admin pages. The host's page calls it with an element and the context.
export function render(element, context) {
  element.textContent = `Takings are shown in ${context.currency}.`;
}
