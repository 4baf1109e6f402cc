const {begin, el, headed, place, put} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  const life = begin(model, view), words = el('p', {class: 'none'}), body = el('div', {class: 'body'})
  const legend = el('ul', {class: 'legend', 'aria-label': 'Legend'})
  const say = () => {
    put(words, model.words)
    words.hidden = !model.words
    legend.hidden = !model.legend.length
    legend.replaceChildren(...model.legend.map(([kind, text, colour]) => {
      const sign = el('span', {class: `sign ${kind}`})
      if (colour) sign.style.background = colour
      return el('li', {}, sign, el('span', {class: 'name', text, title: text}))
    }))
  }
  const fill = () => place(body, model.get_child('objects'))
  const dress = () => {
    const dark = view.el.dataset.theme === 'dark'
    if (model.dark !== dark) model.dark = dark
  }
  model.on(['words', 'legend'], say)
  model.on('objects', fill)
  model.on('after_render', dress)
  life.every(dress)
  say()
  fill()
  return headed(model, words, legend, body)
}
