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

// update gives an element these children and keeps of those that it has what it can: what has the
// focus, is selected or is scrolled stays so. It is for elements without listeners.
export function update(box, ...wanted) {
  wanted.forEach((to, i) => {
    const at = box.childNodes[i];
    if (!at) box.append(to);
    else become(at, to);
  });
  while (box.childNodes.length > wanted.length) box.lastChild.remove();
}

function become(at, to) {
  if (at.nodeName !== to.nodeName) return at.replaceWith(to);
  if (!to.attributes) {
    if (at.data !== to.data) at.data = to.data;
    return;
  }
  for (const { name } of [...at.attributes]) if (!to.hasAttribute(name)) at.removeAttribute(name);
  for (const { name, value } of to.attributes) if (at.getAttribute(name) !== value) at.setAttribute(name, value);
  update(at, ...to.childNodes);
}
