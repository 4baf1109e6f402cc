// A section with a head. One of figures has a legend, and tells Python whether it is dark: figures can't follow CSS.
const {begin, dot, el, headed} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const DOTS = new Set(['ok', 'warn', 'bad', 'info', 'none'])

export function render({model, view}) {
  const life = begin(model, view), lines = el('div', {class: 'lines'}), body = el('div', {class: 'body'})
  const legend = el('ul', {class: 'legend', 'aria-label': 'Legend'})
  const line = ([tone, text]) => el('p', {'data-tone': tone}, DOTS.has(tone) && dot(tone), el('span', {text}))
  const meaning = ([kind, text, colour]) => {
    const sign = el('span', {class: `sign ${kind}`})
    if (colour) sign.style.background = colour
    return el('li', {}, sign, el('span', {class: 'name', text, title: text}))
  }
  const tell = () => {
    const dark = view.el.dataset.theme === 'dark'
    if (model.dark != null && model.dark !== dark) model.dark = dark
  }
  model.on('after_render', tell)
  life.every(tell)
  life.follow('lines', () => lines.replaceChildren(...model.lines.map(line)))
  life.follow('legend', () => legend.replaceChildren(...model.legend.map(meaning)))
  life.children('objects', body)
  return headed(life, model, lines, legend, body)
}
