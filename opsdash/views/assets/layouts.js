// Bokeh 3.9 builds the views of a layout's children before it listens to changes of them: a child that comes in between
// is never seen. Here cards come one after the other, so each layout looks for what it has missed.
// For upstream: LayoutDOMView.connect_signals.
(() => {
  let proto = Bokeh.Models.get('Column').prototype.default_view.prototype
  while (proto.constructor.__name__ !== 'LayoutDOMView') proto = Object.getPrototypeOf(proto)
  const connect = proto.connect_signals
  proto.connect_signals = function () {
    connect.call(this)
    if (this.child_models.some((model) => !this._child_views.has(model))) this.update_children()
  }
})()
