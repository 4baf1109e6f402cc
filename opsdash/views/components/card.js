const {begin, dot, el, headed, place} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  begin(model, view)
  const lines = el('div', {class: 'lines'}), body = el('div', {class: 'body'})
  const say = () => lines.replaceChildren(...model.lines.map(([tone, text]) =>
    el('p', {'data-tone': tone}, ['ok', 'warn', 'bad', 'info', 'none'].includes(tone) && dot(tone), el('span', {text}))))
  const fill = () => place(body, model.get_child('objects'))
  model.on('lines', say)
  model.on('objects', fill)
  say()
  fill()
  return headed(model, lines, body)
}
