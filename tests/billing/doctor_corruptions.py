"""What can be done to the books by hand, and what the doctor must then name, exactly."""

from doctor_traffic import CHEAP, CORRECTED, LATE, REFUNDED, WRITTEN_OFF, WRITTEN_OFF_FOR_GOOD
from ledger_rig import BUDGETS, WALLETS

A_CHARGE = (
    "SELECT id FROM posting WHERE kind = 'S' AND origin = 'r' AND n = 0 AND loss = 0"
    " AND amount > 100 ORDER BY id LIMIT 1"
)
A_LOSS = "SELECT id FROM posting WHERE loss > 0 AND n = 0 AND kind = 'S' ORDER BY id LIMIT 1"
A_GRANT = "SELECT id FROM posting WHERE kind = 'G' ORDER BY id LIMIT 1"
AN_OPEN = "SELECT id FROM hold WHERE state = 'O' AND origin = 'a' ORDER BY id LIMIT 1"
A_BUDGET_HOLD = "SELECT id FROM hold WHERE legs IS NOT NULL ORDER BY id LIMIT 1"
WALLET = WALLETS[0]

CORRUPTIONS = {
    # what is done to the books: which invariants must be named, exactly
    "money made from nothing": (
        "UPDATE account SET credits_posted = credits_posted + 5 WHERE id = 109",
        "I1 I2",
    ),
    "a wallet made richer": (
        f"UPDATE account SET credits_posted = credits_posted + 5 WHERE id = {WALLET}",
        "I1 I2 I12",
    ),
    "both sides of a wallet raised": (
        (
            "UPDATE account SET credits_posted = credits_posted + 5,"
            f" debits_posted = debits_posted + 5 WHERE id = {WALLET}"
        ),
        "I2",
    ),
    "revenue moved to another lane": (
        f"UPDATE posting SET other_account = 109 WHERE id = ({A_CHARGE})",
        "I2",
    ),
    "funding shrunk and revenue with it": (
        (
            "UPDATE account SET credits_posted = credits_posted - 1 WHERE id = 100;"
            "UPDATE account SET debits_posted = debits_posted - 1 WHERE id = 1"
        ),
        "I2",
    ),
    "a budget spent more than was posted": (
        f"UPDATE account SET debits_posted = debits_posted + 1 WHERE id = {BUDGETS[0]}",
        "I2",
    ),
    "an entry too many counted": (
        f"UPDATE account SET entry_count = entry_count + 1 WHERE id = {WALLET}",
        "I2",
    ),
    "a posting for a wallet that does not exist": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount)"
            " VALUES (gen_random_uuid(), 'V', 'a', 'o', 77, 0)"
        ),
        "I2",
    ),
    "a last entry forged": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, entry,"
            " balance_after, other_account) SELECT gen_random_uuid(), 'S', 'a', 'o', id, 1, 1,"
            " entry_count + 1, credits_posted - debits_posted - 1, 109"
            f" FROM account WHERE id = {WALLET}"
        ),
        "I2 I12",
    ),
    "a hold deleted": (f"DELETE FROM hold WHERE id = ({AN_OPEN})", "I3 I13"),
    "a hold's amount lowered on its budget": (
        f"UPDATE hold SET leg_amounts = ARRAY[leg_amounts[1] - 1] WHERE id = ({A_BUDGET_HOLD})",
        "I3",
    ),
    "money pending for nobody": (
        f"UPDATE account SET debits_pending = debits_pending + 1 WHERE id = {WALLET}",
        "I3",
    ),
    "a hold on a budget that does not exist": (
        (
            f"UPDATE hold SET legs = legs || 999999, leg_amounts = leg_amounts || 7::bigint"
            f" WHERE id = ({A_BUDGET_HOLD})"
        ),
        "I3",
    ),
    "a balance rewritten": (
        (
            f"UPDATE posting SET balance_after = balance_after + 1 WHERE wallet = {WALLET}"
            " AND entry = 3"
        ),
        "I4",
    ),
    "a balance below zero": (
        f"UPDATE posting SET balance_after = -3 WHERE wallet = {WALLET} AND entry = 2",
        "I4",
    ),
    "two entries swapped": (
        (
            f"UPDATE posting SET entry = 90000 + entry WHERE wallet = {WALLET} AND entry IN (2, 3);"
            f"UPDATE posting SET entry = 90005 - entry WHERE wallet = {WALLET} AND entry > 90000"
        ),
        "I4",
    ),
    "more held than is there": (
        (
            "INSERT INTO hold (id, origin, wallet, amount, key_id, owner, epoch, lease_until)"
            f" SELECT gen_random_uuid(), 'a', id, credits_posted, 7, 'x', 1, now() + interval '1 h'"
            f" FROM account WHERE id = {WALLET};"
            "UPDATE account SET debits_pending = debits_pending + credits_posted"
            f" WHERE id = {WALLET}"
        ),
        "I4",
    ),
    "a settled hold open again": (
        (
            "INSERT INTO hold (id, origin, wallet, amount, key_id, owner, epoch, lease_until)"
            f" SELECT id, 'a', wallet, 0, 7, 'x', 1, now() + interval '1 h' FROM posting"
            f" WHERE id = ({A_CHARGE})"
        ),
        "I5",
    ),
    "a settle after its owner's own void": (
        f"UPDATE posting SET decider = 'o' WHERE n = 0 AND id = '{LATE}'",
        "I5",
    ),
    "a correction of nothing": (
        f"DELETE FROM posting WHERE n = 0 AND id = '{LATE}'",
        "I5 I9",
    ),
    "a charge above its hold": (
        f"UPDATE posting SET held = amount - 1 WHERE id = ({A_CHARGE})",
        "I6",
    ),
    "a late charge above its hold": (
        f"UPDATE posting SET held = amount - 1 WHERE n = 1 AND id = '{LATE}'",
        "I6",
    ),
    "a loss moved to another account": (
        (
            "UPDATE account SET debits_posted = debits_posted - 1 WHERE id = (SELECT min(id) FROM"
            " account WHERE kind = 5 AND debits_posted > 0);"
            "UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 209"
        ),
        "I7",
    ),
    "a loss that nobody bears": (
        f"UPDATE posting SET loss_account = NULL WHERE id = ({A_LOSS})",
        "I7",
    ),
    "a loss beside room in the hold": (
        f"UPDATE posting SET held = held + 1 WHERE id = ({A_LOSS})",
        "I7",
    ),
    "a lease that nobody ended": (
        f"UPDATE hold SET lease_until = now() - interval '1 hour' WHERE id = ({AN_OPEN})",
        "I8",
    ),
    "a usage record lost": (
        f"DELETE FROM usage_record WHERE hold_id = ({A_CHARGE})",
        "I9",
    ),
    "a usage record of another wallet": (
        f"UPDATE usage_record SET wallet = 77 WHERE hold_id = ({A_CHARGE})",
        "I9",
    ),
    "a usage record of no attempt": (
        (
            "INSERT INTO usage_record SELECT gen_random_uuid(), wallet, key_id, model,"
            " price_version, markup_ppm, outcome, estimated"
            f" FROM usage_record WHERE hold_id = ({A_CHARGE})"
        ),
        "I9",
    ),
    "one more token used": (
        f"UPDATE usage_record SET prompt = prompt + 1 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "another markup": (
        f"UPDATE usage_record SET markup_ppm = 0 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "a price that does not exist": (
        f"UPDATE usage_record SET price_version = 99 WHERE hold_id = ({A_CHARGE})",
        "I10",
    ),
    "a grant of another amount": (
        f"UPDATE request SET amount = amount + 1 WHERE target = ({A_GRANT})",
        "I11",
    ),
    "a grant that nobody asked for": (
        f"DELETE FROM request WHERE target = ({A_GRANT})",
        "I11",
    ),
    "one grant for two requests": (
        (
            "INSERT INTO request SELECT principal, 'again', fingerprint, operation, target, amount"
            f" FROM request WHERE target = ({A_GRANT})"
        ),
        "I11",
    ),
    "a last balance rewritten": (
        (
            "UPDATE posting SET balance_after = balance_after + 1 WHERE (wallet, entry) ="
            f" (SELECT id, entry_count FROM account WHERE id = {WALLET})"
        ),
        "I4 I12",
    ),
    "a request without an outcome": (
        "UPDATE request SET target = gen_random_uuid() WHERE request_id = 'settle'",
        "I13",
    ),
    "a request with an outcome of another kind": (
        "UPDATE request SET operation = 'V' WHERE request_id = 'settle'",
        "I13",
    ),
    "a request of another amount": (
        "UPDATE request SET amount = amount + 1 WHERE request_id = 'settled hold'",
        "I13",
    ),
}

# --- faults that one statement alone finds ------------------------------------------------------
A_REFUND = "SELECT id FROM posting WHERE kind = 'R' ORDER BY id LIMIT 1"
AN_EXPIRY = f"SELECT id FROM posting WHERE kind = 'E' AND wallet = {WALLET} ORDER BY id LIMIT 1"
A_LOT = f"SELECT id FROM credit_lot WHERE wallet = {WALLET} AND expired = 70"
ANOTHERS_LOT = (
    f"SELECT id FROM credit_lot WHERE wallet = {WALLETS[1]} AND amount = 70 AND expired = 0"
)
NOT_OF_POSTINGS = "I2 its {} are not those of its postings"
NO_OUTCOME = "I13 a request id has no outcome of its kind and amount"
NOT_ITS_SNAPSHOT = "I12 its last snapshot is not what its entries had come to"

STATEMENTS: dict[str, tuple[str, set[str]]] = {
    # what is done to the books: everything that is said about them
    "a refund paid by another lane": (
        f"UPDATE posting SET other_account = 109 WHERE id = ({A_REFUND})",
        {NOT_OF_POSTINGS.format("debits")},
    ),
    "an expiry paid to another account": (
        f"UPDATE posting SET other_account = 109 WHERE id = ({AN_EXPIRY})",
        {NOT_OF_POSTINGS.format("credits")},
    ),
    "a write-off earned by another lane": (
        f"UPDATE posting SET other_account = 109 WHERE id = '{WRITTEN_OFF_FOR_GOOD}'",
        {NOT_OF_POSTINGS.format("credits")},
    ),
    "a window given back less than the refund says": (
        f"UPDATE account SET credits_posted = credits_posted - 1 WHERE id = {BUDGETS[0]}",
        {NOT_OF_POSTINGS.format("credits")},
    ),
    "less expired of a grant than was taken back": (
        f"UPDATE credit_lot SET expired = expired - 1 WHERE id = ({A_LOT})",
        {"I2 a grant that expires is not what its postings say"},
    ),
    "more expires than was granted": (
        f"UPDATE credit_lot SET amount = amount + 1 WHERE id = ({A_LOT})",
        {"I2 a grant that expires is not what its postings say"},
    ),
    "a grant that expires before older ones are spent": (
        f"UPDATE credit_lot SET credited_after = credited_after - 1 WHERE id = ({A_LOT})",
        {"I2 a grant that expires has another place among the credits"},
    ),
    "an expiry of another wallet's grant": (
        (
            f"UPDATE posting SET of = ({ANOTHERS_LOT}) WHERE of = ({A_LOT});"
            f"UPDATE credit_lot SET expired = 0 WHERE id = ({A_LOT});"
            f"UPDATE credit_lot SET expired = 70 WHERE id = ({ANOTHERS_LOT})"
        ),
        {"I2 it takes back what was not granted to its wallet for a time"},
    ),
    "a settle after its owner's own write-off": (
        f"UPDATE posting SET decider = 'o' WHERE n = 0 AND id = '{WRITTEN_OFF}'",
        {"I5 a word that admits no correction was corrected"},
    ),
    "a correction that corrects nothing": (
        (
            "INSERT INTO posting (id, n, kind, origin, decider, wallet, amount, held,"
            " other_account) SELECT id, 1, 'S', 'r', 'o', wallet, 0, held, 100 FROM posting"
            f" WHERE id = '{CHEAP}'"
        ),
        {"I5 a word that admits no correction was corrected"},
    ),
    "an estimate corrected above its hold": (
        f"UPDATE posting SET held = 29 WHERE n = 1 AND id = '{CORRECTED}'",
        {"I6 more was charged than was held"},
    ),
    "a refund of no charge": (
        f"UPDATE posting SET of = gen_random_uuid() WHERE of = '{REFUNDED}'",
        {"I6 it refunds no charge of its wallet"},
    ),
    "a refund above its charge": (
        f"UPDATE posting SET of = '{CHEAP}' WHERE of = '{REFUNDED}'",
        {"I6 more was refunded than was charged"},
    ),
    "a window given back more than it was charged": (
        (
            f"UPDATE posting SET leg_amounts = ARRAY[19] WHERE id = '{REFUNDED}';"
            f"UPDATE account SET debits_posted = debits_posted - 21 WHERE id = {BUDGETS[0]}"
        ),
        {"I6 a budget window was given back more than it was charged"},
    ),
    "a write-off that nobody bears": (
        f"UPDATE posting SET loss_account = NULL WHERE id = '{WRITTEN_OFF_FOR_GOOD}'",
        {
            "I7 a loss and the account that bears it go together",
            "I7 the operator's loss is not that of the postings",
        },
    ),
    "a write-off without a usage record": (
        f"DELETE FROM usage_record WHERE hold_id = '{WRITTEN_OFF_FOR_GOOD}'",
        {"I9 a final attempt has no usage record of its wallet"},
    ),
    "an estimate that was corrected without its usage": (
        f"UPDATE usage_record SET prompt = 10 WHERE hold_id = '{CORRECTED}'",
        {"I10 the charge does not follow from what was used"},
    ),
    "a window charged more than it had reserved": (
        f"UPDATE posting SET leg_held = ARRAY[39] WHERE id = '{REFUNDED}'",
        {"I6 a budget window was charged more than it had reserved"},
    ),
    "more taken back than was written off": (
        (
            f"UPDATE posting SET reversed = 36 WHERE n = 1 AND id = '{WRITTEN_OFF}';"
            "UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 200;"
            "UPDATE account SET debits_posted = debits_posted + 1 WHERE id = 100"
        ),
        {"I7 another loss was taken back than was written off"},
    ),
    "a payment of another amount": (
        "UPDATE payment SET amount = amount + 1",
        {"I11 its payment was booked for another account or amount"},
    ),
    "a payment without its grant": (
        "UPDATE payment SET posting = gen_random_uuid()",
        {"I11 a payment is booked without a grant"},
    ),
    "a refund that nobody asked for": (
        f"DELETE FROM request WHERE target = ({A_REFUND})",
        {"I11 it was not asked for once"},
    ),
    "one refund for two requests": (
        (
            "INSERT INTO request SELECT principal, 'again', fingerprint, operation, target, amount"
            f" FROM request WHERE target = ({A_REFUND})"
        ),
        {"I11 it was not asked for once"},
    ),
    "a refund of another amount": (
        f"UPDATE request SET amount = amount + 1 WHERE target = ({A_REFUND})",
        {"I11 it is not what was asked for"},
    ),
    "a last snapshot with more on both sides": (
        (
            "UPDATE account_snapshot SET credits_posted = credits_posted + 1,"
            f" debits_posted = debits_posted + 1 WHERE account = {WALLET}"
            f" AND day = (SELECT max(day) FROM account_snapshot WHERE account = {WALLET})"
        ),
        {NOT_ITS_SNAPSHOT},
    ),
    "a last snapshot one entry too early": (
        (
            f"UPDATE account_snapshot SET entry_count = entry_count - 1 WHERE account = {WALLET}"
            f" AND day = (SELECT max(day) FROM account_snapshot WHERE account = {WALLET})"
        ),
        {NOT_ITS_SNAPSHOT},
    ),
    "a first snapshot that is richer": (
        (
            "UPDATE account_snapshot SET debits_posted = debits_posted - 1"
            f" WHERE account = {WALLET}"
            f" AND day = (SELECT min(day) FROM account_snapshot WHERE account = {WALLET})"
        ),
        {"I12 its balance is not the one after its last entry"},
    ),
    "a snapshot above what revenue ever was": (
        "UPDATE account_snapshot SET credits_posted = credits_posted * 99 WHERE account = 100",
        {"I12 it has more than the account had later"},
    ),
    "a snapshot of no account": (
        "INSERT INTO account_snapshot VALUES (77, '2020-01-01', 0, 0, 0)",
        {"I12 it has more than the account had later"},
    ),
    "a chat that was never held": (
        (
            "UPDATE request SET target = '00000000-0000-7000-8000-000000000000'"
            " WHERE request_id = 'answered'"
        ),
        {NO_OUTCOME},
    ),
    "a refund's request with another outcome": (
        (
            "INSERT INTO request SELECT principal, 'again', fingerprint, operation,"
            f" '{CHEAP}', 5 FROM request WHERE target = ({A_REFUND})"
        ),
        {NO_OUTCOME},
    ),
    "an answer of a call that was not settled": (
        "INSERT INTO request_answer VALUES (gen_random_uuid(), NULL)",
        {"I13 an answer is kept of a call that was never settled"},
    ),
}
