-- The ledger's role and database, as in docs/ledger.md. The image of PostgreSQL runs this once, with
-- psql, when its volume is empty.
\set password `cat /run/secrets/ledger.password`
CREATE ROLE sessiongate LOGIN PASSWORD :'password';
CREATE DATABASE sessiongate ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE sessiongate FROM PUBLIC;
GRANT CONNECT ON DATABASE sessiongate TO sessiongate;
\connect sessiongate
CREATE SCHEMA sessiongate AUTHORIZATION sessiongate;
