// Messages that go by themselves, long work with Cancel, and the watchdog.
const {begin, dot, el, moment, put} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  const life = begin(model, view)
  const button = (text, act) => el('button', {type: 'button', class: 'button small', text, onclick: act})
  const {embedded} = model, kind = embedded ? 'embedded' : '', words = el('span')
  const bar = el('div', {class: `offline ${kind}`, role: 'status', hidden: true})
  const stop = button('Cancel', () => { stop.disabled = true; model.stopped = false; model.stopped = true })
  // Two regions that are there from the start: a screen reader hears what comes into one that it knows.
  const calm = el('div', {role: 'status'}), loud = el('div', {role: 'alert'}), meter = el('progress', {'aria-label': 'Progress'})
  const work = el('div', {class: 'toast work', role: 'status', hidden: true}, words, meter, stop)
  const toasts = el('div', {class: `toasts ${kind}`}, work, calm, loud), open = [], phone = matchMedia('(max-width: 640px)')
  // On a phone one at a time, the newest, which counts the others: their time begins when they are seen.
  const fold = () => open.forEach(({node, count, stay, leave}, at) => {
    const last = at === open.length - 1, waits = phone.matches && !embedded && !last
    put(count, last && at ? `${at} more` : '')
    if (node.classList.contains('waits') !== waits) node.classList.toggle('waits') ? stay() : leave()
  })
  const say = ({text, tone, undo}) => {
    let timer = null
    const stay = () => clearTimeout(timer)
    const leave = () => { stay(); timer = setTimeout(close, model.shown_ms * (undo ? 3 : 1)) }
    const close = () => { stay(); node.remove(); open.splice(open.indexOf(one), 1); fold() }
    const props = {type: 'button', class: 'close', 'aria-label': 'Close the message', 'data-own': true}
    const cross = el('button', {...props, text: '×', onclick: close}), count = el('small')
    const again = undo && button('Undo', () => { close(); model.send_msg({undo}) })
    const heed = {onpointerenter: stay, onfocusin: stay, onpointerleave: leave, onfocusout: leave}
    const parts = [dot(tone), el('span', {text}), again, count, cross]
    const node = el('div', {class: 'toast waits', 'data-tone': tone, ...heed}, ...parts), one = {node, count, stay, leave}
    ;(['bad', 'warn'].includes(tone) ? loud : calm).append(node)
    open.push(one)
    fold()
  }
  const progress = () => {
    const {text, at, of} = model.work
    if (work.hidden) stop.disabled = false
    work.hidden = !text
    put(words, text || '')
    of ? Object.assign(meter, {max: of, value: at}) : meter.removeAttribute('value')
  }
  // A widget is dated from its first moment: it may be in a saved notebook. Of a restart JupyterLab knows at once.
  const aged = model.embedded ? Math.max(0, Date.now() - model.beat * 1000) : 0
  let last = performance.now() - aged, asking = false, had = false
  const marked = () => (model.embedded ? view.el.getRootNode().host : document.documentElement)
  const alive = () => { last = performance.now(); bar.hidden = true; delete marked()?.dataset.notLive }
  const watch = async () => {
    const silent = performance.now() - last, kernel = globalThis.PyViz?.kernels?.[view.root.model.id]
    had ||= Boolean(kernel)
    if (!marked() || (silent < model.limit_ms && (kernel || !had))) return
    const ago = `no word from the server for ${Math.round(silent / 1000)} s. The figures below may be out of date.`
    put(bar, model.embedded ? `Not live: as of ${moment(model.beat)} UTC. ${model.silence}` : `Not live: ${ago}`)
    bar.hidden = false
    marked().dataset.notLive = model.embedded ? bar.textContent : 'Not live: no word from the server.'
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
  model.on('msg:custom', (msg) => { alive(); say(msg) })
  model.on(['beat', 'work'], alive)
  model.on('after_render', watch)
  life.follow('work', progress)
  life.every(watch)
  life.end(alive)
  return el('div', {class: 'all'}, bar, toasts)
}
