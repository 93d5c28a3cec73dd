-- Credits that are bought: what was asked for, how it stands, and what a payment's reversal takes
-- back. That a payment is credited once for ever is kept by `payment` (0006).

CREATE TABLE top_up (
  id              uuid    PRIMARY KEY,
  org_id          bigint  NOT NULL,
  account_id      bigint  NOT NULL,
  method          "char"  NOT NULL CHECK (method IN ('x', 'c')),  -- x402, card
  state           "char"  NOT NULL DEFAULT 'O'
                          CHECK (state IN ('O', 'P', 'S', 'F', 'E', 'R')),
  -- open, pending, succeeded, failed, expired, reversed
  automatic       boolean NOT NULL DEFAULT false,
  amount          bigint  NOT NULL CHECK (amount > 0),            -- nano-USD, as asked for
  credited        bigint  NOT NULL DEFAULT 0 CHECK (credited >= 0),
  reversed        bigint  NOT NULL DEFAULT 0 CHECK (reversed >= 0),
  network         text    NOT NULL DEFAULT '',
  payment_id      text    NOT NULL DEFAULT '',
  payer           text    NOT NULL DEFAULT '',
  message         text    NOT NULL DEFAULT '',
  request_id      text    NOT NULL,      -- the caller's, one an organisation
  fingerprint     bytea   NOT NULL,
  reference       text    NOT NULL DEFAULT '',  -- what the processor calls it: a session, an intent
  checkout_url    text    NOT NULL DEFAULT '',
  offer           text    NOT NULL DEFAULT '',  -- what x402 was told to be paid, as JSON
  return_url      text    NOT NULL DEFAULT '',
  save_card       boolean NOT NULL DEFAULT false,
  payment_key     text,                  -- which signed payment is under way; the chain's own name
  presented       bytea,                 -- that payment as it was presented, to ask for its fate
  looked          boolean NOT NULL DEFAULT false,  -- whether others than its first try may send it
  check_time      timestamptz,           -- when somebody looks at it next; NULL: never
  check_count     integer NOT NULL DEFAULT 0,
  create_time     timestamptz NOT NULL DEFAULT clock_timestamp(),
  expire_time     timestamptz NOT NULL,
  pay_time        timestamptz,           -- when it was credited
  UNIQUE (org_id, request_id)
);
CREATE INDEX top_up_of_account ON top_up (account_id, id);
CREATE INDEX top_up_due ON top_up (check_time) WHERE check_time IS NOT NULL;
CREATE UNIQUE INDEX top_up_payment_key ON top_up (payment_key) WHERE payment_key IS NOT NULL;
CREATE INDEX top_up_pending ON top_up (account_id) WHERE state = 'P';
CREATE INDEX top_up_reference ON top_up (reference) WHERE reference <> '';
-- One automatic top-up at a time, whatever the number of servers.
CREATE UNIQUE INDEX top_up_automatic ON top_up (org_id) WHERE automatic AND state IN ('O', 'P');

CREATE TABLE auto_top_up (
  org_id         bigint  PRIMARY KEY,
  active         boolean NOT NULL DEFAULT false,
  threshold      bigint  CHECK (threshold > 0),
  amount         bigint  CHECK (amount > 0),
  month_max      bigint  CHECK (month_max > 0),
  customer       text    NOT NULL DEFAULT '',   -- the processor's names of who pays, and with what
  payment_method text    NOT NULL DEFAULT '',
  card           text    NOT NULL DEFAULT '',
  fault          text    NOT NULL DEFAULT '',
  revision       bigint  NOT NULL DEFAULT 1,
  CHECK (NOT active OR (threshold IS NOT NULL AND amount IS NOT NULL))
);
CREATE INDEX auto_top_up_active ON auto_top_up (org_id) WHERE active;

-- A payment that was taken back: a dispute, or the payer's refund. Each once, for ever.
CREATE TABLE payment_reversal (
  network     text   NOT NULL,
  reversal_id text   NOT NULL,           -- what the processor calls it
  posting     uuid   NOT NULL UNIQUE,
  of          uuid   NOT NULL,           -- the grant that the payment bought
  amount      bigint NOT NULL CHECK (amount > 0),
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (network, reversal_id)
);
CREATE INDEX payment_reversal_of ON payment_reversal (of);

ALTER TABLE posting DROP CONSTRAINT posting_kind_check, DROP CONSTRAINT posting_of;
ALTER TABLE posting
  ADD CONSTRAINT posting_kind_check
  CHECK (kind IN ('S', 'V', 'W', 'G', 'R', 'E', 'B')) NOT VALID,  -- B: a payment taken back
  ADD CONSTRAINT posting_of CHECK ((of IS NULL) = (kind NOT IN ('R', 'E', 'B'))) NOT VALID;

-- What is taken back of a payment: without what was given back again, which is a grant of its own.
CREATE FUNCTION payment_taken(p_grant uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(v.amount), 0)::bigint FROM payment_reversal v
   WHERE v.of = p_grant AND NOT EXISTS (
         SELECT FROM payment y
          WHERE y.network = v.network AND y.payment_id = v.reversal_id || ':reinstated')
$$;

-- Takes back what a payment bought, spent or not: the one movement that may leave a wallet below
-- zero. At most what is left of it; nothing where nothing is. One row: done (false: it was before),
-- the posting, its amount, the wallet; none where the payment is not known.
CREATE FUNCTION ledger_reverse_payment(
  p_id uuid, p_network text, p_reversal text, p_payment text, p_amount bigint, p_reference text
) RETURNS TABLE (done boolean, posting_id uuid, taken bigint, wallet_id bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  paid    payment;
  funding CONSTANT bigint := 1;
BEGIN
  SELECT y.* INTO paid FROM payment y WHERE y.network = p_network AND y.payment_id = p_payment;
  IF NOT FOUND THEN RETURN; END IF;
  -- The one order of the ledger: no batch can wait for this while this waits for it.
  PERFORM 1 FROM account a WHERE a.id IN (paid.wallet, funding) ORDER BY a.id FOR NO KEY UPDATE;
  RETURN QUERY SELECT false, v.posting, v.amount, paid.wallet FROM payment_reversal v
                WHERE v.network = p_network AND v.reversal_id = p_reversal;
  IF FOUND THEN RETURN; END IF;
  taken := least(p_amount, paid.amount - payment_taken(paid.posting));
  IF taken <= 0 THEN
    RETURN QUERY SELECT true, NULL::uuid, 0::bigint, paid.wallet;
    RETURN;
  END IF;
  INSERT INTO payment_reversal (network, reversal_id, posting, of, amount)
  VALUES (p_network, p_reversal, p_id, paid.posting, taken);
  WITH moved AS (
    UPDATE account a SET debits_posted = a.debits_posted + taken, entry_count = a.entry_count + 1
     WHERE a.id = paid.wallet
    RETURNING a.entry_count, a.credits_posted - a.debits_posted AS balance)
  INSERT INTO posting (id, kind, origin, decider, wallet, amount, other_account, entry,
                       balance_after, reference, of)
  SELECT p_id, 'B', 'o', 'o', paid.wallet, taken, funding, m.entry_count, m.balance, p_reference,
         paid.posting
    FROM moved m;
  UPDATE account a SET credits_posted = a.credits_posted + taken WHERE a.id = funding;
  RETURN QUERY SELECT true, p_id, taken, paid.wallet;
END $$;
