-- Ways from a call to what else is kept about it: an erasure looks there for every call that it blanks, and a scan for each of them would
-- hold everybody else up.
create index bulk_calls_by_call on bulk_calls (call_id);
create index notices_by_call on notices (call_id);
