// Small helpers of every other file here. Text from outside goes in by textContent; nothing parses HTML.
const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue
    if (name === 'text') node.textContent = value
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.filter((child) => child != null))
  return node
}

const SVG = 'http://www.w3.org/2000/svg'
const ICONS = {
  pause: 'M5 3v10M11 3v10',
  play: 'M4.5 2.5v11l8.5-5.5z',
  clear: 'M2.5 4.5h11M6 4.5V2.5h4v2M4 4.5l.7 9h6.6l.7-9',
  sync: 'M13 6.5A5.2 5.2 0 0 0 3.4 5M3 9.5A5.2 5.2 0 0 0 12.6 11M3.2 2v3.2h3.2M12.8 14v-3.2H9.6',
  warn: 'M8 2 14.5 13.5h-13zM8 6.5v3.4M8 11.7v.1',
  sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  moon: 'M13.5 9.5A6 6 0 1 1 6.5 2.5a4.8 4.8 0 0 0 7 7z',
  help: 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.7M8 12.2v.1',
  export: 'M8 2.5v7M5 7l3 3 3-3M2.5 11.5v2h11v-2',
  refresh: 'M13 8a5 5 0 1 1-1.6-3.6M13 2v3h-3',
  look: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6',
  filter: 'M2 3.5h12L9.5 9v4l-3-1.5V9z',
  close: 'M4 4l8 8M12 4l-8 8'
}
const draw = (tag, props) => {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value)
  return node
}
const icon = (name) => {
  const picture = draw('svg', {viewBox: '0 0 16 16', 'aria-hidden': 'true', class: 'icon'})
  picture.append(draw('path', {d: ICONS[name]}))
  return picture
}

// A button with a word, an icon or both. `label` is what a screen reader says where the word alone would not do.
const button = (text, act, {look, label, small, kind} = {}) =>
  el(
    'button',
    {
      type: 'button',
      class: ['button', small && 'small', kind].filter(Boolean).join(' '),
      'aria-label': label,
      title: label,
      onclick: act
    },
    look && icon(look),
    text && el('span', {text})
  )

const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text
}
const dot = (tone) => el('span', {class: 'dot', 'data-tone': tone || 'none'})
let counter = 0
const unique = (stem) => `${stem}-${++counter}`

// JSON Merge Patch (RFC 7386). What it writes into has no prototype: a queue may be called __proto__.
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value)
const merge = (target, patch) => {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key]
    else if (isObject(value)) target[key] = merge(isObject(target[key]) ? target[key] : Object.create(null), value)
    else target[key] = value
  }
  return target
}

const number = (value, digits = 0) =>
  Number(value).toLocaleString('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits})
const rate = (value) => number(value, value < 10 ? 1 : 0)
const bytes = (value) =>
  value >= 1e9
    ? `${number(value / 1e9, 1)} GB`
    : value >= 1e6
      ? `${number(value / 1e6)} MB`
      : value >= 1e3
        ? `${number(value / 1e3)} kB`
        : `${number(value)} B`
const duration = (seconds) => {
  let left = Math.max(0, Math.floor(seconds))
  const parts = []
  for (const [size, unit] of [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'm']
  ]) {
    if (left >= size || parts.length) parts.push(`${Math.floor(left / size)}${unit}`)
    left %= size
  }
  return [...parts, `${left}s`].join(' ')
}
const two = (value) => String(value).padStart(2, '0')
const utc = (seconds, {date = false, to = 's'} = {}) => {
  const text = new Date(seconds * 1000).toISOString()
  return `${date ? `${text.slice(0, 10)} ` : ''}${text.slice(11, to === 's' ? 19 : 16)}`
}
const local = (seconds, {date = false} = {}) => {
  const d = new Date(seconds * 1000),
    day = date ? `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` : ''
  return `${day}${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
}

// A line over time; a missing value is a gap, drawn as one. `points` are [second, value] or [second]; `step` is how far
// apart two neighbours may be.
const sparkline = (points, {step = 25, width = 96, height = 28} = {}) => {
  const known = points.filter((p) => p.length > 1)
  if (known.length < 2) return ''
  const picture = draw('svg', {
    viewBox: `0 0 ${width} ${height}`,
    class: 'spark',
    'aria-hidden': 'true',
    preserveAspectRatio: 'none'
  })
  const first = points[0][0],
    span = Math.max(1, points[points.length - 1][0] - first)
  const most = Math.max(...known.map((p) => p[1]), 1e-9)
  const x = (p) => (((p[0] - first) / span) * (width - 2) + 1).toFixed(1),
    y = (p) => (height - 2 - (p[1] / most) * (height - 4)).toFixed(1)
  let line = '',
    area = '',
    run = []
  const close = () => {
    if (run.length > 1) {
      line += `M${run.map((p) => `${x(p)} ${y(p)}`).join('L')}`
      area += `M${x(run[0])} ${height}L${run.map((p) => `${x(p)} ${y(p)}`).join('L')}L${x(run[run.length - 1])} ${height}Z`
    }
    run = []
  }
  for (const p of points) {
    if (p.length < 2 || (run.length && p[0] - run[run.length - 1][0] > step)) close()
    if (p.length > 1) run.push(p)
  }
  close()
  picture.append(
    draw('path', {d: area, class: 'area'}),
    draw('path', {d: line, class: 'line', 'vector-effect': 'non-scaling-stroke'})
  )
  return picture
}

// What a browser keeps from one visit to the next; a private window may refuse.
const remember = (key, value, store = window.localStorage) => {
  try {
    store.setItem(`opsdash.${key}`, JSON.stringify(value))
  } catch {
    /* not kept, then */
  }
}
const recall = (key, store = window.localStorage) => {
  try {
    return JSON.parse(store.getItem(`opsdash.${key}`))
  } catch {
    return null
  }
}
const forget = (key, store = window.localStorage) => {
  try {
    store.removeItem(`opsdash.${key}`)
  } catch {
    /* nothing kept */
  }
}

const save = (pieces, name) => {
  const link = el('a', {
    href: URL.createObjectURL(new Blob(pieces, {type: 'text/csv;charset=utf-8'})),
    download: name
  })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}

// A notebook has keys for its cells: "y" must not turn one into code while YES is typed here.
const suppressShortcuts = (root) => {
  let host = root.getRootNode().host
  while (host?.getRootNode().host) host = host.getRootNode().host
  host?.setAttribute('data-lm-suppress-shortcuts', 'true')
}
