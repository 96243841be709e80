"""Guards of commands that raise: each is rejected alone."""

from __future__ import annotations

from proof.guards.guard import Guard

_INBOX = "desk/inbox.py"

REJECTIONS = (
    Guard("whatever a command raises before it is run", _INBOX,
          "or_rejected(self._engine, one.request, partial(self._take, one, known, self._holds))",
          "self._take(one, known, self._holds)",
          "test_rejections::test_a_command_that_fails_before_it_is_run_is_rejected_alone"),
    Guard("whatever a command raises as its holder's next", _INBOX,
          "or_rejected(self._engine, one.request, partial(self._take, one, None, self._waits))",
          "self._take(one, None, self._waits)",
          "test_rejections::test_a_command_that_fails_when_it_is_judged_is_rejected_alone"),
    Guard("whatever a command raises when it is judged", _INBOX,
          "or_rejected(self._engine, asked.request, partial(self._judged_of, asked, wanted, now_ms, judgement))",
          "self._judged_of(asked, wanted, now_ms, judgement)",
          "test_rejections::test_a_command_that_fails_when_it_is_judged_is_rejected_alone"),
    Guard("a cause that cannot be read is one command's", _INBOX,
          "        except Exception:  # it may be a single one that cannot", "        except KeyError:",
          "test_rejections::test_a_command_whose_cause_cannot_be_read_is_rejected_alone"),
    Guard("an answer that cannot be read is one question's", "desk/intake.py", "except msgspec.MsgspecError as error:",
          "except KeyError as error:", "test_rejections::test_an_answer_that_cannot_be_read_stops_no_other_question"),
    Guard("what rejects a request is told in plain words", "desk/counter.py", "words=str(words)", "words=words",
          "test_crowds::test_a_holder_has_so_many_requests_in_a_token_and_is_told_by_a_code"),
)  # fmt: skip
