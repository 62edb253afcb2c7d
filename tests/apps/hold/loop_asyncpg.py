#!/usr/bin/python3
"""One asyncio loop, LANES tasks over an asyncpg pool, one transaction after the other without a pause between them;
lane.py says the rest. FLOW=2: each transaction does another one, on a second connection, before its end.

statement_cache_size=0: PgBouncer in transaction mode knows no prepared statements."""
import asyncio
import os

import asyncpg

import lane
import journal

INSERT = "INSERT INTO work(id) VALUES (split_part($1::text, ' ', 1))"


async def other_transaction(pool, name):
    began = lane.now_ms()
    async with pool.acquire() as connection:
        await connection.fetchval("SELECT 1")
        await connection.execute(INSERT, name)
        lane.confirm(name, began)


async def transaction(pool, number, name):
    began, gaps = lane.now_ms(), lane.pauses()
    journal.say("I", name)
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute(INSERT, lane.payload(name))
            await asyncio.sleep(gaps[0])
            for gap in gaps[1:-1]:
                await connection.fetchval("SELECT sum(hits) FROM tally WHERE n < 10")
                await asyncio.sleep(gap)
            if lane.FLOW == 2:
                await other_transaction(pool, "b" + name)
            await connection.execute("UPDATE tally SET hits = hits + 1 WHERE n = $1", number)
            await asyncio.sleep(gaps[-1])
        lane.confirm(name, began)


async def work(pool, number):
    turn = 0
    while True:
        turn += 1
        name = f"{os.getpid()}.{number}.{turn}"
        try:
            await transaction(pool, number, name)
        except Exception as error:  # whatever it is: the app saw an error
            lane.see_error(name, error)
            return


async def main():
    size = lane.LANES * lane.FLOW
    pool = await asyncpg.create_pool(journal.database_url(), min_size=size, max_size=size, statement_cache_size=0)
    journal.say("O", f"ready {os.getpid()}")
    await asyncio.gather(*(work(pool, number) for number in range(lane.LANES)))
    await asyncio.Event().wait()


asyncio.run(main())
