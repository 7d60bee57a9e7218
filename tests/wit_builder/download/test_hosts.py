import asyncio

from wit_builder.download.hosts import Hosts, Schedule


def run(check):
    asyncio.run(asyncio.wait_for(check(), 20))


async def take(schedule, number):
    return [await schedule.next() for _ in range(number)]


def test_no_more_than_so_many_requests_to_one_host_at_once():
    async def check():
        schedule = Schedule(Hosts(2, 0))
        for index in range(4):
            schedule.add("a", index)
        schedule.add("b", "other")
        given = await take(schedule, 3)
        assert sorted(str(job) for _, job in given) == ["0", "1", "other"]
        waiting = asyncio.create_task(schedule.next())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        schedule.done(given[0][0])
        assert (await waiting)[1] == 2

    run(check)


def test_requests_to_one_host_are_spread_over_time_and_others_do_not_wait():
    async def check():
        loop = asyncio.get_running_loop()
        schedule = Schedule(Hosts(0, 20))  # 50 ms between
        for index in range(4):
            schedule.add("slow", index)
        times = []
        for _ in range(4):
            await schedule.next()
            times.append(loop.time())
        assert times[3] - times[0] >= 0.14
        schedule.add("slow", "late")
        schedule.add("new", "at once")
        assert (await schedule.next())[1] == "at once"

    run(check)


def test_a_host_that_asked_for_peace_is_left_alone_until_then():
    async def check():
        loop = asyncio.get_running_loop()
        hosts = Hosts(0, 0)
        schedule = Schedule(hosts)
        hosts["a"].pause(loop.time(), 0.3, "http_429")
        started = loop.time()
        schedule.add("a", "job")
        await schedule.next()
        assert loop.time() - started >= 0.29
        hosts["a"].pause(loop.time(), 3600, "http_429")
        assert hosts["a"].refusal(loop.time(), 60) == "http_429" and hosts["a"].refusal(loop.time(), 4000) is None

    run(check)


def test_a_host_that_never_answers_is_held_to_be_down_until_it_may_have_come_back():
    host = Hosts(0, 0)["a"]
    for _ in range(7):
        host.settle(0, "connect_timeout")
    host.settle(0, "http_404")
    for _ in range(7):
        host.settle(0, "connect_timeout")
    assert host.refusal(1, 60) is None
    host.settle(0, "connect_timeout")
    assert host.refusal(1, 60) == "connect_timeout" and host.refusal(301, 60) is None


def test_delayed_jobs_come_later_and_drained_ones_not_at_all():
    async def check():
        schedule = Schedule(Hosts(0, 0))
        schedule.add("a", "later", delay=0.1)
        schedule.add("a", "now")
        below = asyncio.create_task(schedule.below(1))
        host, job = await schedule.next()
        assert job == "now" and schedule.pending == 1
        assert (await schedule.next())[1] == "later"
        await below
        schedule.add("a", "gone")
        taken = []
        schedule.drain(host, taken.append)
        assert taken == ["gone"] and schedule.pending == 0

    run(check)
