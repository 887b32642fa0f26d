"""report.html of a search: the metric by trial and by each setting that was varied, and the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from xml.etree.ElementTree import Element

from wals_spark.reports.charts import Series, chart
from wals_spark.reports.markup import Child
from wals_spark.reports.page import facts, page, panels, section, table
from wals_spark.reports.scales import Axis, duration
from wals_spark.settings.search_space import Parameter
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Trial, best_first

_TONES = {COMPLETE: 0, PRUNED: 1}


def tuning_report(
    trials: Sequence[Trial],
    space: Mapping[str, Parameter],
    *,
    metric: str,
    title: str,
    planned: int,
    lower_is_better: bool = False,
) -> str:
    """The page of a search as HTML text; ``trials``, at least one, are in the order they ran."""
    ordered = best_first(trials, lower_is_better=lower_is_better)
    best = ordered[0]
    summary = [("trials", f"{len(trials)} of {planned}")]
    summary += [(state, str(n)) for state in (PRUNED, FAILED) if (n := sum(t.state == state for t in trials))]
    summary += [(f"best {metric}", _value(best)), ("best trial", str(best.number))]
    summary += [("time", duration(sum(trial.seconds for trial in trials)))]
    measured = [trial for trial in trials if trial.value is not None]
    charts = [_chart_by_trial(measured, metric, lower_is_better)] if any(t.state == COMPLETE for t in trials) else []
    if measured:
        charts += [_chart_by_setting(measured, name, parameter, metric) for name, parameter in space.items()]
    return page(
        title,
        f"Search for the {'lowest' if lower_is_better else 'highest'} {metric}",
        facts(summary),
        section("Metric by trial and by setting", panels(charts)),
        section("Leaderboard", _leaderboard(ordered, space)),
    )


def _chart_by_trial(trials: Sequence[Trial], metric: str, lower_is_better: bool) -> Element:
    complete = [(trial.number, trial.value) for trial in trials if trial.state == COMPLETE and trial.value is not None]
    numbers, values = zip(*complete, strict=True)
    best_so_far = list(accumulate(values, min if lower_is_better else max))
    return chart(
        f"{metric} by trial",
        [Series("best so far", numbers, best_so_far, tone=2), *_points(trials, lambda trial: trial.number)],
        x=Axis("trial", whole=True),
        y=Axis(metric),
        note="Pruned trials are shown with their last intermediate value.",
    )


def _chart_by_setting(trials: Sequence[Trial], setting: str, parameter: Parameter, metric: str) -> Element:
    if parameter.choices:
        positions = {choice: position for position, choice in enumerate(parameter.choices)}
        x = Axis(setting, names=tuple(str(choice) for choice in parameter.choices))
        series = _points(trials, lambda trial: positions[trial.settings[setting]])
    else:
        x = Axis(setting, log=parameter.log)
        series = _points(trials, lambda trial: trial.settings[setting])
    return chart(setting, series, x=x, y=Axis(metric))


def _points(trials: Sequence[Trial], x: Callable[[Trial], float]) -> list[Series]:
    """The complete and the pruned trials as points: the value of each over ``x``."""
    by_state = {state: [trial for trial in trials if trial.state == state] for state in _TONES}
    return [
        Series(
            state,
            [x(trial) for trial in of_state],
            [trial.value for trial in of_state if trial.value is not None],
            mark="points",
            tone=_TONES[state],
        )
        for state, of_state in by_state.items()
        if of_state
    ]


def _leaderboard(ordered: Sequence[Trial], space: Mapping[str, Parameter]) -> Element:
    logged = list(ordered[0].metrics)[1:]  # the first is the value
    rows: list[list[Child]] = [
        [
            str(place),
            str(trial.number),
            _value(trial),
            "" if trial.interval is None else "{:.4f} to {:.4f}".format(*trial.interval),
            *(f"{trial.metrics[name]:.4f}" if name in trial.metrics else "" for name in logged),
            trial.message or _state(trial),
            *(_setting(trial.settings[name]) for name in space),
            duration(trial.seconds),
        ]
        for place, trial in enumerate(ordered, start=1)
    ]
    header = ["place", "trial", "value", "95 % interval", *logged, "state", *space, "time"]
    numbers = [number for number, name in enumerate(header) if name != "state"]
    return table(header, rows, numbers=numbers, highlighted=(0,))


def _state(trial: Trial) -> str:
    return f"pruned at iteration {max(trial.intermediate_values)}" if trial.state == PRUNED else trial.state


def _value(trial: Trial) -> str:
    return "" if trial.value is None else f"{trial.value:.4f}"


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
