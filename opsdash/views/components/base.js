// What every component here uses. Text from outside goes in by textContent; nothing here parses HTML.
// What no eye sees, or what turns round the letters after it, is shown as an escape: one name must not look like another.
const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g
const visible = (text) =>
  String(text ?? '').replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
export const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue
    if (name === 'text') node.textContent = visible(value)
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.filter((child) => child || child === ''))
  return node
}
const draw = (tag, props, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value)
  node.append(...children)
  return node
}
export const icon = (path) => draw('svg', {viewBox: '0 0 16 16', 'aria-hidden': 'true', class: 'icon'}, draw('path', {d: path}))
export const put = (node, text) => {
  const shown = visible(text)
  if (node.textContent !== shown) node.textContent = shown
}
export const dot = (tone) => el('span', {class: 'dot', 'data-tone': tone || 'none'})
// What the browser keeps: for good, or with `sessionStorage` as long as the tab is open.
export const remember = (name, value, store = 'localStorage') => {
  try { window[store].setItem(`opsdash.${name}`, JSON.stringify(value)) } catch { /* a private window: not kept, then */ }
}
export const recall = (name, store = 'localStorage') => {
  try { return JSON.parse(window[store].getItem(`opsdash.${name}`)) } catch { return null }
}
let counter = 0
export const unique = (stem) => `${stem}-${++counter}`

export const number = (value, digits = 0) =>
  Number(value).toLocaleString('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits})
export const rate = (value) => number(value, value && value < 10 ? 1 : 0)
export const bytes = (value) => {
  const [size, unit] = [[1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']].find(([least]) => value >= least) || [1, 'B']
  return `${number(value / size, size === 1e9 ? 1 : 0)} ${unit}`
}
export const duration = (seconds) => {
  const left = Math.max(0, Math.floor(seconds)), units = [[86400, 1e9, 'd'], [3600, 24, 'h'], [60, 60, 'm'], [1, 60, 's']]
  const needed = units.filter(([size]) => left >= size || size === 1)
  return needed.map(([size, of, unit]) => `${Math.floor(left / size) % of}${unit}`).join(' ')
}
const stamp = (seconds, cut) => new Date(seconds * 1000).toISOString().slice(...cut).replace('T', ' ')
export const clock = (seconds) => stamp(seconds, [11, 19]), moment = (seconds) => stamp(seconds, [0, 19])
export const here = (seconds) =>
  `${moment(seconds)} UTC, ${moment(seconds - new Date(seconds * 1000).getTimezoneOffset() * 60)} here`

// What a field says, by the kind of its column.
const SAID = {
  text: String,
  number: (v) => number(v),
  rate,
  decimal: (v) => number(v, 2),
  bytes,
  since: (v, now) => duration(now - v),
  left: (v, now) => (v > now ? duration(v - now) : 'over'),
  ago: (v, now) => `${duration(now - v)} ago`,
  time: moment,
  clock,
  state: ([, word, remark]) => [word, remark].filter(Boolean).join(', '),
  bar: (v, now, of) => (of ? `${number(v)} of ${number(of)}` : number(v))
}
export const MOVING = new Set(['since', 'left', 'ago']), STILL = new Set(['acts', 'spark'])
export const MOMENTS = new Set([...MOVING, 'time', 'clock'])
export const RIGHT = new Set(['number', 'rate', 'decimal', 'bytes', 'since', 'left', 'ago'])
export const said = (column, row, now) => {
  const value = row[column.field]
  if (value == null) return column.kind === 'ago' ? 'just now' : '–'
  return (row[column.about] ? '~' : row[column.least] ? '≥ ' : '') + (SAID[column.kind] || String)(value, now, row[column.of])
}

// A small line, as `sparkline` of Python gives it: its path, the one of the area below it, and what it says.
export const sparkline = ([line, area, text]) => draw(
  'svg', {viewBox: '0 0 96 28', class: 'spark', role: 'img', preserveAspectRatio: 'none', 'aria-label': text},
  draw('title', {}, text), draw('path', {d: area, class: 'area'}),
  draw('path', {d: line, class: 'line', 'vector-effect': 'non-scaling-stroke'})
)

// The node that has the focus, in whatever shadow root; what was pressed last, for browsers that don't focus buttons.
export const focused = () => {
  let node = document.activeElement
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement
  return node === document.body ? null : node
}
export const outermost = (node) => {
  while (node?.getRootNode().host) node = node.getRootNode().host
  return node
}
let pressed = null, pressedWithin = null
export const pressedIn = () => pressedWithin
document.addEventListener('click', (event) => {
  pressed = event.composedPath().find((n) => n.matches?.('button, a[href]'))
  pressedWithin = outermost(pressed)
  // Panel's download is a link in a button, and the link alone hears a click: not Enter, nor a click beside its words.
  const [first] = event.composedPath()
  if (first.matches?.('.bk-btn')) first.querySelector(':scope > a')?.click()
}, true)
const STOPS = 'button, input, select, textarea, a[href], [tabindex="0"]'
const inside = (node) => [...node.querySelectorAll('*')].flatMap((n) => (n.shadowRoot ? [n, ...inside(n.shadowRoot)] : n))
export const stops = (node, least = 0) => inside(node)
  .filter((n) => n.matches(STOPS) && !n.disabled && n.tabIndex >= least && n.checkVisibility({visibilityProperty: true}))
// Remembers where the focus is, and gives a function that puts it back there: or, where that has gone or is disabled
// by now, to the nearest thing around it.
export const wayBack = () => {
  const path = []
  for (let node = focused() || pressed; node && node !== document; node = node.parentNode || node.host) path.push(node)
  return () => {
    for (const node of path) {
      if (!node.isConnected || node === document.body) continue
      const [to] = node.matches?.(STOPS) && !node.disabled && node.checkVisibility() ? [node] : stops(node)
      if (to) return to.focus({preventScroll: true})
    }
  }
}

// Into the clipboard, which a page without TLS does not have. The button says that it is done.
export const copy = (text, button) => {
  const was = (button.dataset.was ||= button.textContent), say = (word) => { button.textContent = word }
  const done = () => { say('Copied'); setTimeout(say, 1500, was) }, ask = () => prompt('To copy:', text)
  navigator.clipboard ? navigator.clipboard.writeText(text).then(done, ask) : ask()
}

// Puts nodes into another, and leaves what is there already where it is, with the focus that may be in it.
export const place = (node, given) => {
  const wanted = given.filter(Boolean), held = focused()
  if (wanted.length === node.childNodes.length && wanted.every((one, i) => one === node.childNodes[i])) return
  node.replaceChildren(...wanted)
  if (held?.isConnected && held !== focused()) held.focus({preventScroll: true})
}

// Light or dark, for `auto`: as what is around the component says, else as what is painted behind it.
const painted = (node) => {
  for (let at = node; at; at = at.parentNode || at.host) {
    const paint = at.nodeType === 1 ? getComputedStyle(at).backgroundColor : ''
    const [r, g, b, a = 1] = (paint.match(/[\d.]+/g) || []).map((part) => Number(part) * (paint.startsWith('color') ? 255 : 1))
    if (b != null && a > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < 110 ? 'dark' : 'light'
  }
}
const nearest = (host, name) => {
  for (let at = host.parentNode; at; at = at.parentNode || at.host) if (at.dataset?.[name]) return at.dataset[name]
  return document.documentElement.dataset[name]
}
const around = (host) => {
  const told = nearest(host, 'theme'), jupyter = document.body.dataset.jpThemeLight
  if (told || jupyter) return told || (jupyter === 'false' ? 'dark' : 'light')
  // What paints nothing shows the browser's own canvas, which is dark only where the page allows it to be.
  const dark = matchMedia('(prefers-color-scheme: dark)').matches
  const canvas = dark && getComputedStyle(document.documentElement).colorScheme.includes('dark')
  return painted(host) || (canvas ? 'dark' : 'light')
}

// Bokeh takes what the server has sent later for the browser's own news: the first word about it would send all of it back.
const known = () => { for (const doc of globalThis.Bokeh?.documents || []) doc._new_models?.clear() }
for (const kind of ['pointerdown', 'keydown', 'input', 'click']) document.addEventListener(kind, known, true)

const beats = new Set()
setInterval(() => { for (const act of beats) act() }, 1000)
for (const node of [document.documentElement, document.body])
  new MutationObserver(() => { for (const act of beats) act.theme?.() }).observe(node, {attributes: true})

// Where no Python answers, what needs it is off, and its tooltip says why; `data-own` does without. It is not `disabled`,
// which Python says: so it is as Python says it once there is an answer again.
const NEEDS = 'button:not(th button, [data-own]), input, select, textarea', OFF = '[aria-disabled=true]'
const off = (host, why) => {
  for (const node of inside(host.shadowRoot).filter((n) => n.matches(why ? `:is(${NEEDS}):not(${OFF})` : OFF))) {
    if (why) node.__title = node.title
    node.title = why || node.__title || ''
    if (why) node.setAttribute('aria-disabled', 'true')
    else node.removeAttribute('aria-disabled')
  }
}
const held = (event) => {
  if (!event.composedPath()[0].closest?.(OFF) || ['Tab', 'Escape'].includes(event.key)) return
  event.preventDefault()
  event.stopImmediatePropagation()
}

// Begins the life of a drawn component: it takes its colours, and `every` runs once a second until it is removed; what
// `follow` is given runs now and when one of these changes. Panel may draw a component again: the life before ends then.
export const begin = (model, view) => {
  const host = view.el, mine = new Set()
  known()
  host.__end?.()
  const end = (act) => mine.add(act), every = (act) => { beats.add(act); end(() => beats.delete(act)) }
  const follow = (names, act) => { model.on(names, act); act() }
  // What Python has made, now and whenever it is another. Panel may call before the view of a child is there, and does not
  // call again.
  const given = (name, act) => {
    let turn = 0
    const take = (mine, wait) => {
      const nodes = mine === turn ? model.get_child(name) : []
      if (mine === turn) { act(nodes); if (wait > 20) view.render_children() }
      if (!nodes.every(Boolean)) setTimeout(take, wait, mine, Math.min(2 * wait, 1000))
    }
    end(() => { turn = 0 })
    follow(name, () => take(++turn, 20))
  }
  const children = (name, node, then) => given(name, (nodes) => { place(node, nodes); then?.() })
  host.__end = () => { for (const act of mine) act(); mine.clear() }
  const dress = () => {
    const theme = model.theme === 'auto' ? around(host) : model.theme, why = nearest(host, 'notLive')
    if (host.dataset.theme !== theme) host.dataset.theme = theme
    if (why || host.matches('[data-aged]')) off(host, why)
    host.toggleAttribute('data-aged', Boolean(why))
  }
  dress.theme = dress
  every(dress)
  for (const kind of ['click', 'mousedown', 'keydown', 'beforeinput']) host.addEventListener(kind, held, true)
  model.on('after_render', () => {
    dress()
    // A notebook has keys for its cells: "y" must not turn one into code while YES is typed here.
    outermost(host).dataset.lmSuppressShortcuts = 'true'
  })
  model.on('remove', host.__end)
  follow('theme', dress)
  return {every, end, follow, given, children}
}

// A named section with a head: title, note, actions; the parts below it as given.
export const headed = ({follow, children}, model, ...parts) => {
  const title = el('h2', {id: unique('title')}), note = el('span', {class: 'note'}), actions = el('div', {class: 'actions'})
  const head = el('div', {class: 'head'}, title, note, actions)
  const say = () => {
    put(title, model.title)
    put(note, model.note)
    head.hidden = !model.title && !model.note && !actions.childNodes.length
  }
  children('actions', actions, say)
  follow(['title', 'note'], say)
  return el('section', {class: 'box', 'aria-labelledby': title.id}, head, ...parts)
}

// The menu of a row: one node for a whole table, above everything else. `find` gives the button that opened it, which
// may have been drawn again in the meantime. Esc and a click elsewhere close it, as the browser has it.
export const rowMenu = () => {
  const node = el('div', {class: 'menu', role: 'menu', popover: 'auto'})
  let from = {}, was = false
  const close = () => { node.hidePopover(); from.find()?.focus({preventScroll: true}) }
  const open = (button, called, items, act, find) => {
    from = {button, find}
    node.setAttribute('aria-label', `More for ${called}`)
    node.replaceChildren(...items.map(({name, label, help, danger}) => {
      const choose = () => { close(); act(name) }, props = {type: 'button', role: 'menuitem', tabindex: -1, onclick: choose}
      return el('button', {...props, class: danger && 'danger'}, el('span', {text: label}), help && el('small', {text: help}))
    }))
    node.showPopover()
    const at = button.getBoundingClientRect(), {offsetWidth: width, offsetHeight: height} = node
    node.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, at.right - width))}px`
    node.style.top = `${at.bottom + height + 8 > innerHeight ? Math.max(8, at.top - height - 4) : at.bottom + 4}px`
    node.firstChild.focus({preventScroll: true})
    for (const kind of ['wheel', 'touchmove']) addEventListener(kind, () => node.hidePopover(), {once: true, passive: true})
  }
  node.addEventListener('toggle', ({newState}) => {
    from.button.setAttribute('aria-expanded', String(newState === 'open'))
    if (newState === 'closed' && !focused()) from.find()?.focus({preventScroll: true})
  })
  node.onkeydown = (event) => {
    const items = [...node.children], at = items.indexOf(node.getRootNode().activeElement)
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1}[event.key]
    event.stopPropagation()
    if (to === undefined && !['Tab', 'Escape'].includes(event.key)) return
    event.preventDefault()
    if (to === undefined) close()
    else items[(to + items.length) % items.length].focus()
  }
  const opener = (called, items, act, find) => {
    const props = {type: 'button', class: 'button small more', 'aria-haspopup': 'menu', 'aria-expanded': 'false', title: 'More'}
    const button = el('button', {...props, text: '⋯', 'aria-label': `More for ${called}`})
    button.onpointerdown = () => { was = from.button === button && node.matches(':popover-open') }
    button.onclick = () => { was ? (was = false) : open(button, called, items, act, find) } // the press has closed it
    return button
  }
  return {node, opener}
}
