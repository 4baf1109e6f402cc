// The page for somebody who may not see the page: what is wrong and what to do, nothing else.
export function render({model}) {
  const card = document.createElement('main'), title = document.createElement('h1')
  card.className = 'card page'
  title.textContent = model.heading
  card.append(title, ...model.lines.map((text) => { const p = document.createElement('p'); p.textContent = text; return p }))
  if (model.commands) { const pre = document.createElement('pre'); pre.textContent = model.commands; card.append(pre) }
  return card
}
