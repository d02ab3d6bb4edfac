package shard

const childEnv = "PEGASUS_SHARD_TEST_CHILD"

func runChild() {}
