"""What was asked, answered, decided and came true; who may ask; who opted out or was erased.

schema      the tables                        migrations/  how they came to be (Alembic)
store       a database of them                records      a prediction's line, as the service writes it
spool       lines on disk before the answer   shipper      from there into the database, one per node
audit       the chain of privileged acts      notices      what every replica must know: keys, opt-outs, erasures
"""
