// Draws the panel beside an item. The host's page calls it with an element and the context.
export function render(element, context) {
  element.textContent = `Sales of ${context.item} so far: none.`;
}
