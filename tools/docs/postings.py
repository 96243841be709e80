"""What each kind of event posts, in words; a test holds it against what journals post."""

from __future__ import annotations

_MARKS = (
    "Marks: `unrealised` against `price`, so that unrealised profit is that of the positions at these "
    "prices; what the hedge of a flow has of it then goes from `price` to `flows` (`unrealised` against "
    "`flows`)."
)
_DAYS = "For each day that ended, and up to now before a dealing, the management fee: `management` against `fees`."
_LOST = "Of a token that has lost everything: what it lacks, `wallet` against `reserve`."

POSTS: dict[str, dict[str, str]] = {
    "token": {
        "launched": "",
        "seeded": "the money, `wallet` against `capital`, and the units, `held` against `issued`.",
        "marked": f"{_MARKS} {_DAYS} {_LOST}",
        "roll_due": f"{_MARKS} {_DAYS} {_LOST}",
        "nav_struck": f"{_MARKS} {_DAYS} {_LOST}",
        "funding_settled": (
            f"{_MARKS} What was accrued for this settlement is taken back: `accrued` against `funding`, and of a "
            "flow's hedge against `flows` (against `fees` where that flow has ended). Then `amount`: `wallet` "
            "against `funding`; the part of a flow's hedge, by its lots at the settlement, against `flows`; all "
            f"of the token's own against `fees` where its fee is all in. {_LOST}"
        ),
        "funding_accrued": (
            f"{_MARKS} What the settlement is expected to bring, lots · lot · mark · rate, rounded against the "
            "token: `accrued` against `funding`, of a flow's hedge against `flows`; of a token whose fee is all "
            f"in only the latter. {_LOST}"
        ),
        "filled": (
            "the trade. Its price is paid in lots · lot · price, rounded up (money received is rounded down), or "
            "`paid`. Profit of a closed part by average cost: `wallet` against `unrealised`. What the trade lost "
            "against the mark: `spread` against `unrealised`; the commission: `commission` against `wallet`. Of a"
            " flow's hedge both against `flows`; of a token whose fee is all in against `fees`."
        ),
        "order_ended": _LOST,
        "liquidated": (
            f"{_MARKS} The trade as of `filled`, what it lost and what the venue charged: `liquidation`. {_LOST}"
        ),
        "adopted": (
            f"{_MARKS} Each position that changed, as a trade at its mark, as of `filled`, with what it lost by "
            f"rounding on `liquidation`; then the cash: `wallet` against `liquidation`. {_LOST}"
        ),
        "operated": _LOST,
        "consolidated": (
            "the units that are gone, `issued` against `held`, and the money for what was cut off, `wallet` "
            "against `capital`."
        ),
        "specification_changed": "",
        "flow_matched": "the fee: `wallet` against `capital`, and `dealt` against `fees`.",
        "dealing_begun": (
            f"{_MARKS} The money of a subscription: `wallet` against `flows`. Of a token without units what is "
            "left of before: `wallet` against `reserve`. What the flow gains on lots that it takes over from the "
            "token at another price than the mark: `spread` against `flows`."
        ),
        "unwinding_begun": f"{_MARKS} {_LOST}",
        "dealing_limited": "",
        "dealing_settled": (
            "what was created or burned: `held` against `issued`. Of a subscription the money that is returned, "
            "`wallet` against `flows`; what was taken, `flows` against `capital`; its fee, `wallet` against "
            "`capital`. Of a redemption the money that is paid, `wallet` against `capital`. The fee: `dealt` "
            "against `fees`. What the hedge gained: `flows` against `dealt`; what it lost beyond what the flow "
            "can pay: `flows` against `fees`. With the last units what is left: `wallet` against `reserve`."
        ),
        "redeemed": (
            "the units, `issued` against `held`; the money, `wallet` against `capital`; the fee, `dealt` against "
            "`fees`; with the last units what is left, `wallet` against `reserve`."
        ),
        "fees_taken": (
            "in cash: `wallet` against `fees`. In units: `fees` against `capital`, and `held` against `issued`. "
            "Burned: `wallet` against `capital`, `issued` against `held`, and `fees` against `management`."
        ),
    },
    "holder": {
        "deposited": "the money: `free` against `outside`.",
        "withdrawn": "the money: `outside` against `free`.",
        "granted": (
            "the money: `outside` to `free` and from there to the token (`TOKEN`); the units: `free` against `TOKEN`."
        ),
        "collected": (
            "the fees: `fees-TOKEN` against `free`, or against the token (`TOKEN`) for units; units: `free` "
            "against `TOKEN`."
        ),
        "requested": "what is set aside: `held` against `free`.",
        "released": "what was set aside: `free` against `held`.",
        "dealt": (
            "of a subscription the money from `held` to the token (`TOKEN`), and the units, `free` against "
            "`TOKEN`; those that the dealing account lent, `short`. Of a redemption the units from `held` to "
            "`TOKEN`, and the money, `free` against `TOKEN`."
        ),
        "handed": "units or money: `free` against `holders`.",
        "quoted": "",
        "quote_voided": "",
        "exchanged": "units and money: `free` against `holders`; units that the dealing account lends: `short`.",
        "merged": (
            "what is cut off of the units: `TOKEN` against `free`, `held` or `short`; the money for it: `free` "
            "against `TOKEN`."
        ),
    },
    "book": {},
}
