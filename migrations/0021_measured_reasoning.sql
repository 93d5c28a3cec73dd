-- How much the answers of an offer grow by what its model thinks before: sums over the calls that
-- left its reasoning alone and whose provider counted it. They fade as the sums of milliseconds do.
ALTER TABLE offer_speed
  -- Tokens of the answers themselves, and of the reasoning before them.
  ADD COLUMN answer_tokens    double precision NOT NULL DEFAULT 0
    CHECK (answer_tokens >= 0 AND answer_tokens < 'Infinity'),
  ADD COLUMN reasoning_tokens double precision NOT NULL DEFAULT 0
    CHECK (reasoning_tokens >= 0 AND reasoning_tokens < 'Infinity'),
  -- How many calls they stand for.
  ADD COLUMN answer_weight    double precision NOT NULL DEFAULT 0
    CHECK (answer_weight >= 0 AND answer_weight < 'Infinity');
