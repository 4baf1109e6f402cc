// Light or dark: as asked for, else as it was left, else as what is around it.
const behind = (node) => {
  for (let at = node; at; at = at.parentNode || at.host) {
    const paint = at.nodeType === 1 ? getComputedStyle(at).backgroundColor : ''
    const [r, g, b, a = 1] = (paint.match(/[\d.]+/g) || []).map((part) => Number(part) * (paint.startsWith('color') ? 255 : 1))
    if (b != null && a > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < 110 ? 'dark' : 'light'
  }
  return null
}

const theming = (model, root) => {
  let turned = null
  const machine = () => (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')
  // A page has the window to itself and remembers; a widget looks as the notebook or the page that it is put into.
  const around = () => (model.whole ? recall('theme') || machine() : behind(root.getRootNode().host) || 'light')
  return {
    dress() {
      const theme = turned || (model.theme === 'auto' ? around() : model.theme),
        changed = root.dataset.theme !== theme
      root.dataset.theme = theme
      if (model.whole) document.documentElement.dataset.theme = theme
      return changed
    },
    turn() {
      turned = root.dataset.theme === 'dark' ? 'light' : 'dark'
      if (model.whole && model.theme === 'auto') remember('theme', turned)
    }
  }
}
