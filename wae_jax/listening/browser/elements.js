'use strict';
// Elements of a page.

const byId = (id) => document.getElementById(id);

// An element with attributes, properties that are functions, and children that are elements or text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

// A labelled field for files, and the label; `open(files)` is called with those that are chosen, also the same again.
function makeFileField(text, attributes, open) {
  const input = make('input', {
    type: 'file', ...attributes,
    onchange: async ({ target }) => {
      if (target.files.length) await open([...target.files]);
      target.value = '';
    },
  });
  return { input, label: make('label', {}, text, input) };
}

const makeButton = (text, onclick, attributes = {}) => make('button', { type: 'button', onclick, ...attributes }, text);
