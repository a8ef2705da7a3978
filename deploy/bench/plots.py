"""The same as pictures, SVG: throughput, CPU, memory, and the distribution of latencies."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from report import MIB, medians, rate

COLORS = ["#3b6fb6", "#d98032", "#4d9a5b"]


def bars(folder, name, title, values):
    """`values`: shape → tool → number. One group of bars a tool, one bar a shape."""
    tools = list(dict.fromkeys(tool for shape in values.values() for tool in shape))
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.55 * len(tools)), layout="constrained")
    height = 0.8 / len(values)
    for index, (shape, of) in enumerate(values.items()):
        places = [place + index * height for place in range(len(tools))]
        drawn = axes.barh(places, [of.get(tool, 0) for tool in tools], height * 0.9,
                          label=f"{shape} rows a transaction" if shape.isdigit() else shape,
                          color=COLORS[index % len(COLORS)])
        axes.bar_label(drawn, fmt="{:,.0f}" if max(of.values()) > 100 else "{:.1f}", padding=3, fontsize=8)
    axes.set_yticks([place + height * (len(values) - 1) / 2 for place in range(len(tools))], tools)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(folder / f"{name}.svg")
    plt.close(figure)


def distribution(folder, latency):
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for (commits, measured), color in zip(latency.items(), COLORS):
        for what, style in (("walpost", "-"), ("commit to pg_recvlogical", ":"), ("producer to consumer", "--")):
            cuts = measured[what]["distribution"]
            axes.plot(cuts, [step / 100 for step in range(len(cuts))], style, color=color,
                      label=f"{commits}/s {'commit to consumer' if what == 'walpost' else what}")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.set_title("Share of events that had come after so long", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(folder / "latency.svg")
    plt.close(figure)


def draw(folder, result):
    """Writes them, and returns which."""
    if result["drains"]:
        def of(number):
            return {shape: {tool: number(shape, tool, medians(runs)) for tool, runs in tools.items()}
                    for shape, tools in result["drains"].items()}

        bars(folder, "throughput", "Rows a second", of(lambda shape, tool, _: rate(result, shape, tool)))
        bars(folder, "cpu", "Seconds of CPU of the tool, per million rows",
             of(lambda shape, _, run: run["cpu"] / result["rows_of"][shape] * 1e6))
        bars(folder, "memory", "Peak of memory, MiB", of(lambda _, __, run: run["memory"] / MIB))
    if result["latency"]:
        distribution(folder, result["latency"])
    return sorted(folder.glob("*.svg"))
