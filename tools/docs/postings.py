"""What each kind of event posts, in words; a test holds it against what journals post."""

from __future__ import annotations

_MARKS = (
    "First the marks: what the hedge of a flow gains by them, its lots at the new mark less its lots at the old, each "
    "rounded down, `unrealised` against `flows`; the rest of what unrealised profit changes by, `unrealised` against "
    "`price`."
)
_DAYS = (
    "Then, while there are units, the management fee: for the days that ended since it was last charged, and with "
    "`accrues` for the part of this day, by the formula above: `management` against `fees`."
)
_LOST = "Of a token that has lost everything: what it lacks, `wallet` against `reserve`; what it has again, back."

POSTS: dict[str, dict[str, str]] = {
    "token": {
        "launched": "",
        "seeded": "the money, `wallet` against `capital`, and the units, `held` against `issued`.",
        "marked": f"{_MARKS} {_DAYS} {_LOST}",
        "roll_due": f"{_MARKS} {_DAYS} {_LOST}",
        "nav_struck": f"{_MARKS} {_DAYS} {_LOST}",
        "funding_settled": (
            f"{_MARKS} What was accrued for this settlement is taken back: `accrued` against `funding`, and of a "
            "flow's hedge against `flows`. Then `amount`: `wallet` against `funding`; the part of a flow's hedge, by "
            "its lots at the settlement, against `flows`; all of the token's own against `fees` where its fee is all "
            f"in. {_LOST}"
        ),
        "funding_accrued": (
            f"{_MARKS} What the settlement is expected to bring, lots · lot · mark · rate, rounded against the "
            "token: `accrued` against `funding`, of a flow's hedge against `flows`; of a token whose fee is all "
            f"in only the latter. {_LOST}"
        ),
        "filled": (
            "the trade. It costs number of lots · size of a lot · price, rounded up (what is received, which is"
            " negative, is so rounded down), or `paid`. Profit of a closed part by average cost: `wallet` "
            "against `unrealised`. What the trade lost against the mark: `spread` against `unrealised`; the "
            "commission: `commission` against `wallet`. A fill of the epoch that "
            "`dealing_begun` or `unwinding_begun` began is of the flow's hedge: there both are `flows` against "
            "`unrealised` and `wallet`. Of a token whose fee is all in they are `fees` against these."
        ),
        "order_ended": _LOST,
        "liquidated": (
            f"{_MARKS} The leg's is `price`. Then the trade as of `filled`, what it lost and what the venue charged: "
            f"`liquidation`. Then the marks again, at `prices` where they are given. {_LOST}"
        ),
        "adopted": (
            f"{_MARKS} Each position that changed, as a trade at its mark, as of `filled`, with what it lost by "
            f"rounding on `liquidation`; then the cash: `wallet` against `liquidation`. {_LOST}"
        ),
        "operated": _LOST,
        "consolidated": (
            "the units that are gone, `issued` against `held`; the money for what was cut off, `capital` "
            "against `wallet`."
        ),
        "specification_changed": (
            "the management fee under the former specification, up to this part of the day, by the formula above: "
            f"`management` against `fees`. {_LOST}"
        ),
        "flow_matched": "the fee: `wallet` against `capital`, and `dealt` against `fees`.",
        "dealing_begun": (
            f"{_MARKS} The money of a subscription: `wallet` against `flows`. Of a token without units what is "
            "left of before: `reserve` against `wallet`. Lots that the token's own paced rebalance has yet to "
            "trade the other way become the hedge's at once; what the flow gains on them, their worth at the "
            "mark less that at `crossing`: `spread` against `flows`."
        ),
        "unwinding_begun": f"{_MARKS} {_LOST}",
        "excess_kept": (
            f"{_MARKS} What trading the excess back would cost: its lots times the lot size, the mark and the sum of "
            "the terms' `taker_fee` and `half_spread`, rounded up for each leg: `flows` against `spread`."
        ),
        "dealing_limited": "",
        "dealing_settled": (
            "units created: `held` against `issued`; burned: `issued` against `held`. Of a subscription the "
            "money that is returned, the amount it began with less `cash`: `flows` against `wallet`; `cash`: "
            "`flows` against `capital`; its fee: `wallet` against `capital`. Of a redemption the money that is "
            "paid: `capital` against `wallet`. The fee: `dealt` against `fees`. What the hedge gained: `flows` "
            "against `dealt` (lost: `dealt` against `flows`, as far as the flow can pay); what is left on "
            "`flows` then: `fees` against `flows`. With the last units what is left: `reserve` against "
            "`wallet`."
        ),
        "redeemed": (
            "the units, `issued` against `held`; the money, `capital` against `wallet`; the fee, `dealt` "
            "against `fees`; with the last units what is left, `reserve` against `wallet`."
        ),
        "fees_taken": (
            "in cash: `fees` against `wallet`. In units: `fees` against `capital`, and `held` against `issued`."
            " Burned: `capital` against `wallet`, `issued` against `held`, and `fees` against `management`."
        ),
    },
    "holder": {
        "deposited": "the money: `free` against `outside`.",
        "withdrawn": ("the money: `outside` against `free`."),
        "granted": ("the money, `TOKEN` against `outside`; the units, `free` against `TOKEN`."),
        "collected": (
            "the fees: `fees-TOKEN` against `free`, or against the token (`TOKEN`) for units; units: `free` "
            "against `TOKEN`."
        ),
        "requested": "what is set aside: `held` against `free`.",
        "released": (
            "what was set aside: `free` against `held`. Its `money` no longer counts in `asked`, if the day is "
            "the same."
        ),
        "dealt": (
            "of a subscription `cash`, `TOKEN` against `held`, and the units, `free` against `TOKEN`; the "
            "dealing account's go first to `short`, as far as that is below 0. Of a redemption the units, "
            "`TOKEN` against `held`, and the money, `free` against `TOKEN`."
        ),
        "handed": "units or money: `free` against `holders`.",
        "quoted": "",
        "quote_voided": "",
        "exchanged": (
            "units and money received: `free` against `holders`; given: `holders` against `free`. Units that "
            "the dealing account gives beyond what is free come from `short`."
        ),
        "merged": (
            "what is cut off of the units: `TOKEN` against `free`, `held` or `short`; the money for it: `free` "
            "against `TOKEN`."
        ),
    },
    "book": {},
    "flows": {},
}
