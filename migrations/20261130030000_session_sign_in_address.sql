-- The address in the verified ID token that opened the session. Upstreams are told this one: user_email may hold the
-- mail claim, which nobody verifies. Sessions of before tell no address until the next sign-in.
alter table entraway.sessions add column sign_in_address text;
