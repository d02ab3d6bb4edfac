package core

import "fmt"

// EnvText explains one environment, in the words of Apache Pegasus' /envs/list.
type EnvText struct {
	Limitation string `json:"limitation"`
	Sample     string `json:"sample"`
	Type       string `json:"type"`
}

const throttleForm = "<size[K|M]>*<delay|reject>*<milliseconds>"

// envSamples are values that are good; keys without one take any string.
var envSamples = map[string]string{
	"default_ttl":                                         "86400",
	"replica.deny_client_request":                         "timeout*all",
	"replica.write_throttling":                            "10000*delay*100,20000*reject*100",
	"replica.write_throttling_by_size":                    "10000*delay*100,20000*reject*100",
	"replica.read_throttling":                             "10000*delay*100,20000*reject*100",
	"replica.backup_request_throttling":                   "10000*delay*100,20000*reject*100",
	"replica.read_throttling_by_size":                     "20000*delay*100,20000*reject*100",
	"replica.slow_query_threshold":                        "1000",
	"replica.rocksdb_iteration_threshold_time_ms":         "1000",
	"replica.rocksdb_block_cache_enabled":                 "true",
	"replica.split.validate_partition_hash":               "true",
	"rocksdb.usage_scenario":                              "normal",
	"rocksdb.checkpoint.reserve_min_count":                "2",
	"rocksdb.checkpoint.reserve_time_seconds":             "3600",
	"rocksdb.allow_ingest_behind":                         "true",
	envWriteBufferSize:                                    "67108864",
	envNumLevels:                                          "6",
	envCompactDisabled:                                    "true",
	envCompactMax:                                         "8",
	envCompactTime:                                        "1700000000",
	envCompactLevel:                                       "6",
	envCompactBottom:                                      "skip",
	"manual_compact.periodic.target_level":                "6",
	"manual_compact.periodic.bottommost_level_compaction": "skip",
}

// envLimits are the words for what only code can say.
var envLimits = map[string]string{
	"replica.deny_client_request":       "<timeout|reconfig>*<all|read|write>",
	"replica.write_throttling":          throttleForm,
	"replica.write_throttling_by_size":  throttleForm,
	"replica.read_throttling":           throttleForm,
	"replica.backup_request_throttling": throttleForm,
	"replica.read_throttling_by_size":   throttleForm,
}

// EnvHelp explains every environment that operators may set.
func EnvHelp() map[string]EnvText {
	out := make(map[string]EnvText, len(envRules))
	for key, r := range envRules {
		t := EnvText{Sample: envSamples[key], Type: "string", Limitation: envLimits[key]}
		switch {
		case r.isBool:
			t.Type, t.Limitation = "bool", "true | false"
		case r.width != 0:
			t.Type, t.Limitation = fmt.Sprintf("unsigned int%d", r.width), r.limit
		case r.choices != "":
			t.Limitation = r.choices
		}
		out[key] = t
	}
	return out
}
