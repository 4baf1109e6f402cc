// What the confirmation dialog says. Queue names and reasons are other people's text: textContent only.
export function render({model}) {
  const root = document.createElement('div'), warning = document.createElement('p'), list = document.createElement('ul')
  warning.className = 'warning'
  root.append(warning, list)
  const draw = () => {
    warning.textContent = model.warning
    list.hidden = model.lines.length === 0
    list.replaceChildren(...model.lines.map((text) => { const li = document.createElement('li'); li.textContent = text; return li }))
  }
  draw()
  model.on('warning', draw)
  model.on('lines', draw)
  return root
}
