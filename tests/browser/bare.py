"""A widget's script in a bare page: no kernel and no JupyterLab, so that a test of drawing takes a second."""

from typing import Any

RENDER = """async ([script, values]) => {
  const { default: widget } = await import(URL.createObjectURL(new Blob([script], { type: 'text/javascript' })));
  window.carriers = Object.fromEntries(Object.entries(values).map(([name, value]) => {
    const heard = [];
    const carrier = { get: () => value, save_changes: () => heard.forEach(call => call()),
      set: (_, other) => { value = other; }, on: (_, call) => heard.push(call), off: () => {} };
    return [name, carrier];
  }));
  const model = { get: name => 'IPY_MODEL_' + name, widget_manager: { get_model: name => window.carriers[name] } };
  await widget.render({ model, el: document.querySelector('main'), signal: { aborted: false } });
}"""
SET = "([name, value]) => { window.carriers[name].set('value', value); window.carriers[name].save_changes(); }"


def render(page: Any, script: str, style: str, **values: str) -> None:
    """Draw a widget whose state is carried by widgets of these names and values."""
    page.set_content(f"<style>main {{ display: flex; height: 90vh; width: 600px; }}{style}</style><main></main>")
    page.evaluate(RENDER, [script, values])


def carried(page: Any, name: str) -> str:
    value: str = page.evaluate("name => window.carriers[name].get()", name)
    return value


def carry(page: Any, name: str, value: str) -> None:
    """As the kernel, or another widget of the page, sets it."""
    page.evaluate(SET, [name, value])
