"""How much of the machine this process may use."""

from trainable.cpus import cpus


def test_the_cpus_are_those_that_a_process_may_use(one_cpu: int) -> None:
    assert cpus() == {one_cpu}
