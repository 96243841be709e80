"""The script of a report: it makes the kinds of trace that are drawn, or all where it cannot tell them."""

from __future__ import annotations

import re

import pytest
from plotly.offline import get_plotlyjs

from gearing.study.report.plotly import eager, script, with_only

BUNDLE = (
    '(function(a, b) {}(self, () => {\nvar Bx=W((e,t)=>{t.exports={attributes:{},moduleType:"trace",name:"bar"}}),'
    'B1=W((e,t)=>{"use strict";t.exports=Bx()});var Px=W((e,t)=>{t.exports={moduleType:"trace",name:"pie"}}),'
    'P1=W((e,t)=>{"use strict";t.exports=Px()});core.register([B1(),P1()]);\nreturn core;\n}));\n'
)


def registered(text: str) -> list[str]:
    (found,) = re.findall(r"\.register\(\[([\w$(),]*)\]\)", text)
    return [call for call in found.split(",") if call]


def test_only_what_is_drawn_is_made():
    assert registered(with_only(BUNDLE, frozenset({"scatter", "pie"}))) == ["P1()"]
    assert registered(with_only(BUNDLE, frozenset({"bar", "pie"}))) == ["B1()", "P1()"]
    assert registered(with_only(BUNDLE, frozenset({"scatter"}))) == []


@pytest.mark.parametrize("bundle", ["var x = 1;", BUNDLE + BUNDLE, BUNDLE.replace('name:"bar"', "name:n")])
def test_what_cannot_be_told_is_left_whole(bundle):
    assert with_only(bundle, frozenset({"bar"})) == bundle


def test_the_installed_bundle_is_understood():
    whole = get_plotlyjs()
    assert len(registered(whole)) > 40
    assert len(registered(script(frozenset({"scatter", "bar", "waterfall", "heatmap"})))) == 3
    assert eager(whole) != whole
    # Everything else is as it was.
    assert len(whole) - len(with_only(whole, frozenset({"bar"}))) < 1_000
