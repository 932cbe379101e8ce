# Arbitrary commands: who may run what where, once, and how it ended.

> servant s1 20000-20009 exec= label:role=web label:zone=east
> servant s2 20000-20009 exec= label:role=web label:zone=west
> servant s3 20000-20009 label:role=db

# A run on servants that are named. Nothing is left of the names but the servants.
> command c1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e1","servants":["s2","s1","s2"],"command":["uptime"]}
> runs s1
> runs s3

# It ends on each; a servant speaks for itself alone, and once.
> report s1 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":0},"duration_ms":7,"output_bytes":70}}
> report s1 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":1},"duration_ms":7,"output_bytes":70}}
> report s3 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":0},"duration_ms":7,"output_bytes":70}}
> query exec.show {"exec":"00000000-0000-0000-0000-0000000000e1"}
> runs s1
> runs s2

# Cancelled once, while it goes on anywhere.
> command c2 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
> runs s2
> command c3 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
> report s2 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":"cancelled","duration_ms":9,"output_bytes":0}}
> command c4 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
> command c5 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e9"}

# An id is used once, and a command too.
> command c6 exec.request {"exec":"00000000-0000-0000-0000-0000000000e1","servants":["s1"],"command":["true"]}
> command c1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e2","servants":["s1"],"command":["true"]}

# By labels: those that fit; who cannot is left out and named.
> report foreman servant.lose {"servant":"@s2","silent_ms":3000}
> command c7 exec.request {"exec":"00000000-0000-0000-0000-0000000000e3","selector":"role=web","command":["true"]}
> command c8 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"zone=west","command":["true"]}
> command c9 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"role=db","command":["true"]}
> command c10 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"role=mail","command":["true"]}

# What cannot be.
> command d1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s2"],"command":["true"]}
> command d2 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s3"],"command":["true"]}
> command d3 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s9"],"command":["true"]}
> command d4 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","command":["true"]}
> command d5 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"selector":"zone","command":["true"]}
> command d6 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":[]}
> command d7 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["a\u0000b"]}
> command d8 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"time_ms":0}}
> command d9 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"time_ms":86400001}}
> command d10 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"output_bytes":1073741825}}
> command d11 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["top"],"stdio":{"terminal":{"size":{"rows":0,"columns":80},"term":"xterm"}}}
> command d12 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["top"],"stdio":{"terminal":{"size":{"rows":24,"columns":80},"term":"a b"}}}
> command d13 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","instance":"00000000-0000-0000-0000-0000000000ff","command":["true"]}

# A servant that is removed will never say how its runs ended.
> command f1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e5","servants":["s1"],"command":["sleep","60"]}
> report foreman servant.lose {"servant":"@s1","silent_ms":3000}
> command f2 servant.remove {"servant":"s1"}
> query exec.show {"exec":"00000000-0000-0000-0000-0000000000e5"}
