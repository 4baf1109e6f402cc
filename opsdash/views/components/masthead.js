const {begin, clock, el, here, icon, put, recall, remember, stops} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const SUN = 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1'
const MOON = 'M13.5 9.5A6 6 0 1 1 6.5 2.5a4.8 4.8 0 0 0 7 7z', HELP = 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.7M8 12.2v.1'

export function render({model, view}) {
  const life = begin(model, view), page = document.documentElement
  const parts = ['env', 'where', 'clock', 'who', 'mode'].map((n) => el('span', {class: n})), [env, where, time, who, mode] = parts
  const round = (name, onclick, own) => el('button', {type: 'button', 'aria-label': name, title: name, onclick, 'data-own': own})
  const help = round('Keyboard shortcuts', () => { model.help = false; model.help = true })
  const toggle = round('Toggle theme', () => turn(), true)
  const head = el('header', {}, el('span', {class: 'mark', text: 'opsdash'}), ...parts, help, toggle)
  const turn = () => {
    page.dataset.theme = view.el.dataset.theme === 'dark' ? 'light' : 'dark'
    remember('theme', page.dataset.theme)
    paint()
  }
  const paint = () => {
    const dark = (page.dataset.theme || view.el.dataset.theme) === 'dark'
    if (toggle.dataset.dark === String(dark)) return
    toggle.dataset.dark = String(dark)
    toggle.replaceChildren(icon(dark ? MOON : SUN))
  }
  const say = () => {
    head.dataset.risk = model.risk
    for (const [node, text] of [[env, model.environment], [where, model.where], [who, model.who], [mode, model.mode]]) {
      put(node, text)
      node.title = text
    }
    help.hidden = !model.has_help
    put(time, model.read_at ? `Figures of ${clock(model.read_at)} UTC` : 'No figures yet')
    time.title = model.read_at ? here(model.read_at) : ''
  }
  // A key presses, or enters, what has the first of its names; what is on a tab that comes last is looked for again.
  const press = (names, tries = 40) => {
    const there = stops(document.body, -1), called = (n) => n.ariaLabel || n.placeholder || n.textContent.trim()
    const node = names.map((name) => there.find((n) => called(n)?.startsWith(name))).find(Boolean)
    node?.focus()
    if (node?.matches('button')) node.click()
    if (node?.matches('[role=tab]') && names.length > 1 && tries) setTimeout(press, 50, names, tries - 1)
  }
  const pressed = (event) => {
    const names = model.keys[event.key], at = event.composedPath()[0], typed = /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)
    if (!names || !model.keys_work || (typed && at.type !== 'radio') || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    if (names.length) press(names)
    else model.send_msg({key: event.key})
  }
  document.addEventListener('keydown', pressed)
  life.end(() => document.removeEventListener('keydown', pressed))
  if (recall('keys') === false) model.keys_work = false
  model.on('keys_work', () => remember('keys', model.keys_work))
  help.append(icon(HELP))
  life.follow(['environment', 'risk', 'where', 'who', 'mode', 'read_at', 'has_help'], say)
  life.every(paint)
  paint()
  return head
}
