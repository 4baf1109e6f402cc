// Messages that go by themselves, long work with Cancel, and the watchdog.
const {begin, dot, el, put, recall, remember} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  const life = begin(model, view), page = document.documentElement
  const button = (text, act) => el('button', {type: 'button', class: 'button small', text, onclick: act})
  const bar = el('div', {class: 'offline', role: 'status', hidden: true}), words = el('span')
  const meter = el('progress', {'aria-label': 'Progress'})
  const stop = button('Cancel', () => { stop.disabled = true; model.stopped = true })
  const work = el('div', {class: 'toast work', role: 'status', hidden: true}, words, meter, stop)
  // Two regions that are there from the start: a screen reader hears what comes into one that it knows.
  const calm = el('div', {role: 'status'}), loud = el('div', {role: 'alert'})
  const toasts = el('div', {class: model.embedded ? 'toasts embedded' : 'toasts'}, work, calm, loud)
  const say = ({text, tone, undo}) => {
    const cross = {type: 'button', class: 'close', 'aria-label': 'Close the message', text: '×', onclick: () => toast.remove()}
    const again = undo && button('Undo', () => { toast.remove(); model.send_msg({undo}) })
    const toast = el('div', {class: 'toast', 'data-tone': tone}, dot(tone), el('span', {text}), again, el('button', cross))
    let timer = null
    const stay = () => clearTimeout(timer)
    const leave = () => { stay(); timer = setTimeout(() => toast.remove(), model.shown_ms * (undo ? 3 : 1)) }
    for (const kind of ['pointerenter', 'focusin']) toast.addEventListener(kind, stay)
    for (const kind of ['pointerleave', 'focusout']) toast.addEventListener(kind, leave)
    ;(['bad', 'warn'].includes(tone) ? loud : calm).append(toast)
    leave()
  }
  const progress = () => {
    const {text, at, of} = model.work
    if (work.hidden) stop.disabled = false
    work.hidden = !text
    put(words, text || '')
    if (of) Object.assign(meter, {max: of, value: at})
    else meter.removeAttribute('value')
  }
  let last = performance.now(), asking = false, wrong = false
  const alive = () => { last = performance.now(); bar.hidden = !wrong; delete page.dataset.notLive }
  const watch = async () => {
    const silent = performance.now() - last
    if (silent < model.limit_ms) return
    put(bar, `Not live: no word from the server for ${Math.round(silent / 1000)} s. The figures below may be out of date.`)
    bar.hidden = false
    page.dataset.notLive = 'true'
    if (asking || !model.reloads) return
    asking = true
    // Not the page itself: each GET of it builds a session. Where the address is not served, a 404 is an answer too.
    try {
      const answer = await fetch(model.health, {cache: 'no-store'})
      await new Promise((done) => setTimeout(done, 2000)) // a server that was only busy sends its word first
      if (answer.status < 500 && performance.now() - last > model.limit_ms) location.reload()
    } catch { /* still away */ }
    asking = false
  }
  // A fault while an update is taken over leaves the rest of it out: nothing that is shown can be relied on.
  const faulty = ({error, reason}) => {
    if (!((error || reason) instanceof Error) || !model.reloads) return
    if (Date.now() - (recall('faulty', 'sessionStorage') || 0) > 60000) {
      remember('faulty', Date.now(), 'sessionStorage')
      return location.reload()
    }
    put(bar, 'This page could not take over an update: figures may be wrong. Reload it.')
    bar.hidden = false
    wrong = true
  }
  for (const kind of ['error', 'unhandledrejection']) {
    addEventListener(kind, faulty)
    life.end(() => removeEventListener(kind, faulty))
  }
  model.on('msg:custom', (msg) => { alive(); say(msg) })
  model.on('work', () => { alive(); progress() })
  model.on('beat', alive)
  life.every(watch)
  life.end(alive)
  progress()
  return el('div', {class: 'all'}, bar, toasts)
}
