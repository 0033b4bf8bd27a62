// Small helpers around the document. Text always goes in as text.

export const byID = (id) => document.getElementById(id);

// element('span', {class: 'chip', title: 'x'}, 'text', otherElement)
export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) e.setAttribute(name, '');
    else if (value !== false && value !== undefined) e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

// Writing the same text again would still make the browser lay out again.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}
