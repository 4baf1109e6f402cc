// The page for a user without access: what is wrong and what to do, nothing else.
export function render({model}) {
  const page = document.createElement('div'),
    card = document.createElement('main'),
    title = document.createElement('h1')
  page.className = 'ops closed'
  page.dataset.theme = document.documentElement.dataset.theme || 'light'
  card.className = 'page'
  title.textContent = model.heading
  card.append(
    title,
    ...model.lines.map((text) => {
      const p = document.createElement('p')
      p.textContent = text
      return p
    })
  )
  if (model.commands) {
    const pre = document.createElement('pre')
    pre.textContent = model.commands
    card.append(pre)
  }
  page.append(card)
  return page
}
