-- The address in the verified ID token that opened the session. Upstreams are told this one: user_email may hold the
-- mail claim, which nobody verifies. Sessions of before tell no address until the next sign-in.
-- Every request reads this table: better to fail and be started again than to have them all wait behind us.
set local lock_timeout = '3s';

alter table entraway.sessions add column sign_in_address text;
