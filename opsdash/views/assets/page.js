// What Bokeh (3.8 to 3.10) leaves out and a page that changes while it is made needs; for upstream. It runs before the first view.
(() => {
  const view = (name) => Bokeh.Models.get(name).prototype.default_view.prototype
  const above = (proto, is) => is(proto) ? proto : above(Object.getPrototypeOf(proto), is)
  // By what they are, since Bokeh 3.10 names its views no more: LayoutDOMView, and ControlView, which inputs have too.
  const layout = above(view('Button'), (proto) => Object.hasOwn(proto, 'build_child_views'))
  const control = above(view('Button'), (proto) => Object.prototype.isPrototypeOf.call(proto, view('TextInput')))
  const {connect_signals: follow} = layout, {connect_signals: listen} = control
  // The views of a layout's children are built before it listens to changes of them: what came in between is missed.
  layout.connect_signals = function () {
    follow.call(this)
    if (this.child_models.some((model) => !this._child_views.has(model))) this.update_children()
  }
  // A control is switched off also before its elements are there, and the error takes the rest of the message with it.
  control.connect_signals = function () {
    const {controls} = this
    this.controls = function * () { for (const node of controls.call(this)) if (node) yield node }
    listen.call(this)
  }
  // No component of this page has an import map; Panel adds the empty ones, and where browsers import by themselves its shim
  // refuses each with a warning.
  if (globalThis.importShim) globalThis.importShim.addImportMap = () => {}
  // Panel makes an entry of the history of every change of the address, and hears of none that is gone back to. Here an
  // entry is a tab: going back leads to the tab of before, with the filters of now.
  const {pushState, replaceState} = history, query = (at) => new URL(at, location).searchParams
  const tab = (at) => query(at).get('tab') || 'overview'
  history.pushState = (...given) =>
    (tab(given[2]) === tab(location) ? replaceState : pushState).apply(history, given)
  addEventListener('popstate', () => {
    const there = Bokeh.documents.flatMap((doc) => doc.roots()).find(({type}) => type.endsWith('.Location'))
    if (!there) return
    const wanted = query(there.search || '?')
    wanted.set('tab', tab(location))
    there.search = `?${wanted}`
  })
  // A fault while a message is taken over leaves the rest of it out: nothing that is shown can be relied on.
  const MINUTE_MS = 60000, LAST = 'opsdash.faulty'
  const faulty = ({error, reason}) => {
    if (!((error || reason) instanceof Error)) return
    if (Date.now() - (sessionStorage.getItem(LAST) || 0) > MINUTE_MS) {
      sessionStorage.setItem(LAST, Date.now())
      location.reload()
    } else document.getElementById('faulty').hidden = false
  }
  for (const kind of ['error', 'unhandledrejection']) addEventListener(kind, faulty)
})()
