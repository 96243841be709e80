"""What the issuer asks for on its own account, and what it is answered."""

from __future__ import annotations

from gearing.core.events import FeesHow
from gearing.core.money import as_text
from gearing.core.step import StepError
from gearing.desk.requests import Answered, TakeFees
from gearing.drive.driver import Driver
from gearing.drive.fees import Taken, take_fees
from gearing.drive.running import Running

_DONE: dict[FeesHow, str] = {
    "cash": "It is moved from its account at the venue with the next reconciliation.",
    "units": "The issuer has {units} new units for it.",
    "burn": "The issuer gave {units} units for it, which are burned.",
}


def answer(driver: Driver, wanted: TakeFees, now_ms: int) -> Answered:
    """Carries out what the issuer asks for, and returns the answer; what is refused leaves holders as they are."""
    running = driver.by_name.get(wanted.token)
    if running is None:
        known = ", ".join(driver.by_name)
        return Answered(done=False, words=f"there is no token {wanted.token}; there are {known}", time_ms=now_ms)
    if not wanted.by.strip() or not wanted.reason.strip():
        words: str = "is not touched without a name and a reason"
    else:
        try:
            found = take_fees(driver, running, wanted.amount, wanted.how, wanted.by, wanted.reason, now_ms)
        except StepError as error:
            found = str(error)
        if isinstance(found, Taken):
            return Answered(done=True, words=_taken(running, found, wanted.how), time_ms=now_ms,
                            status=running.state.status)  # fmt: skip
        words = f"pays no fees so: {found}"
    return Answered(done=False, words=f"{wanted.token} {words}", time_ms=now_ms, status=running.state.status)


def _taken(running: Running, taken: Taken, how: FeesHow) -> str:
    asset, owed = running.spec.token.settlement, -running.state.balances.fees
    done = _DONE[how].format(units=as_text(taken.units, grouped=True))
    return (f"{running.name} paid fees of {as_text(taken.amount, grouped=True)} {asset}. {done} "
            f"{as_text(owed, grouped=True)} {asset} is still owed.")  # fmt: skip
