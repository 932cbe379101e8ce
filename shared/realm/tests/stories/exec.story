# Arbitrary commands: who may run what where, once, and how it ended.

> servant s1 20000-20009 exec= label:role=web label:zone=east
  1 servant.joined {"domain":"default","facts":{"servant":"@s1","name":"s1","capabilities":{"exec":""},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1","labels":{"role":"web","zone":"east"}}}
  verdict: "committed"
> servant s2 20000-20009 exec= label:role=web label:zone=west
  2 servant.joined {"domain":"default","facts":{"servant":"@s2","name":"s2","capabilities":{"exec":""},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1","labels":{"role":"web","zone":"west"}}}
  verdict: "committed"
> servant s3 20000-20009 label:role=db
  3 servant.joined {"domain":"default","facts":{"servant":"@s3","name":"s3","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1","labels":{"role":"db"}}}
  verdict: "committed"

# A run on servants that are named. Nothing is left of the names but the servants.
> command c1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e1","servants":["s2","s1","s2"],"command":["uptime"]}
  4 exec.requested {"exec":"00000000-0000-0000-0000-0000000000e1","servants":["@s1","@s2"],"command":["uptime"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864}}
  5 command.accepted {"id":"c1","command":"exec.request"}
> runs s1
  {"exec":"00000000-0000-0000-0000-0000000000e1","command":["uptime"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864},"wish":"run"}
> runs s3

# It ends on each; a servant speaks for itself alone, and once.
> report s1 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":0},"duration_ms":7,"output_bytes":70}}
  6 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","servant":"@s1","outcome":{"end":{"code":0},"duration_ms":7,"output_bytes":70}}
  verdict: "committed"
> report s1 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":1},"duration_ms":7,"output_bytes":70}}
  verdict: "redundant"
> report s3 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":{"code":0},"duration_ms":7,"output_bytes":70}}
  verdict: "redundant"
> query exec.show {"exec":"00000000-0000-0000-0000-0000000000e1"}
  {"actor":"anonymous","cancelled_by":null,"command":["uptime"],"exec":"00000000-0000-0000-0000-0000000000e1","instance":null,"left_out":[],"limits":{"output_bytes":67108864,"time_ms":600000},"requested_at":4000,"runs":[{"ended_at":5000,"lost":false,"outcome":{"duration_ms":7,"end":{"code":0},"output_bytes":70},"servant":"s1"},{"ended_at":null,"lost":false,"outcome":null,"servant":"s2"}],"selector":null,"stdio":"output"}
> runs s1
> runs s2
  {"exec":"00000000-0000-0000-0000-0000000000e1","command":["uptime"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864},"wish":"run"}

# Cancelled once, while it goes on anywhere.
> command c2 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
  7 exec.cancelled {"exec":"00000000-0000-0000-0000-0000000000e1"}
  8 command.accepted {"id":"c2","command":"exec.cancel"}
> runs s2
  {"exec":"00000000-0000-0000-0000-0000000000e1","command":["uptime"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864},"wish":"cancel"}
> command c3 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
  9 command.refused {"id":"c3","command":"exec.cancel","refusal":{"code":"conflict","field":"exec","rule":"the run 00000000-0000-0000-0000-0000000000e1 is cancelled already","fix":"it ends within seconds where its servant lives"}}
> report s2 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","outcome":{"end":"cancelled","duration_ms":9,"output_bytes":0}}
  10 exec.ended {"exec":"00000000-0000-0000-0000-0000000000e1","servant":"@s2","outcome":{"end":"cancelled","duration_ms":9,"output_bytes":0}}
  verdict: "committed"
> command c4 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e1"}
  11 command.refused {"id":"c4","command":"exec.cancel","refusal":{"code":"conflict","field":"exec","rule":"the run 00000000-0000-0000-0000-0000000000e1 has ended everywhere","fix":"there is nothing to cancel"}}
> command c5 exec.cancel {"exec":"00000000-0000-0000-0000-0000000000e9"}
  12 command.refused {"id":"c5","command":"exec.cancel","refusal":{"code":"unknown","field":"exec","rule":"no run 00000000-0000-0000-0000-0000000000e9 is remembered","fix":"see `kingctl exec ls`"}}

# An id is used once, and a command too.
> command c6 exec.request {"exec":"00000000-0000-0000-0000-0000000000e1","servants":["s1"],"command":["true"]}
  13 command.refused {"id":"c6","command":"exec.request","refusal":{"code":"conflict","field":"exec","rule":"there is a run 00000000-0000-0000-0000-0000000000e1 already","fix":"give every run a fresh id"}}
> command c1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e2","servants":["s1"],"command":["true"]}
  repeated: {"status":"accepted","event":5}

# By labels: those that fit; who cannot is left out and named.
> report foreman servant.lose {"servant":"@s2","silent_ms":3000}
  14 servant.lost {"servant":"@s2","name":"s2","silent_ms":3000}
  verdict: "committed"
> command c7 exec.request {"exec":"00000000-0000-0000-0000-0000000000e3","selector":"role=web","command":["true"]}
  15 exec.requested {"exec":"00000000-0000-0000-0000-0000000000e3","servants":["@s1"],"selector":"role=web","left_out":[{"servant":"s2","reason":"is lost"}],"command":["true"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864}}
  16 command.accepted {"id":"c7","command":"exec.request"}
> command c8 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"zone=west","command":["true"]}
  17 command.refused {"id":"c8","command":"exec.request","refusal":{"code":"conflict","field":"selector","rule":"the servant \"s2\" is lost","fix":"wait until it is back, or name others"}}
> command c9 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"role=db","command":["true"]}
  18 command.refused {"id":"c9","command":"exec.request","refusal":{"code":"conflict","field":"selector","rule":"the servant \"s3\" runs no commands","fix":"start it without --no-exec, or name others"}}
> command c10 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","selector":"role=mail","command":["true"]}
  19 command.refused {"id":"c10","command":"exec.request","refusal":{"code":"unknown","field":"selector","rule":"no servant has labels that fit role=mail","fix":"see the labels with `kingctl servant ls`"}}

# What cannot be.
> command d1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s2"],"command":["true"]}
  20 command.refused {"id":"d1","command":"exec.request","refusal":{"code":"conflict","field":"servants","rule":"the servant \"s2\" is lost","fix":"wait until it is back, or name others"}}
> command d2 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s3"],"command":["true"]}
  21 command.refused {"id":"d2","command":"exec.request","refusal":{"code":"conflict","field":"servants","rule":"the servant \"s3\" runs no commands","fix":"start it without --no-exec, or name others"}}
> command d3 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s9"],"command":["true"]}
  22 command.refused {"id":"d3","command":"exec.request","refusal":{"code":"unknown","field":"servants","rule":"there is no servant \"s9\"","fix":"see `kingctl servant ls`"}}
> command d4 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","command":["true"]}
  23 command.refused {"id":"d4","command":"exec.request","refusal":{"code":"invalid","field":"servants","rule":"exactly one of servants, selector and instance says where","fix":"give one of them"}}
> command d5 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"selector":"zone","command":["true"]}
  24 command.refused {"id":"d5","command":"exec.request","refusal":{"code":"invalid","field":"servants","rule":"exactly one of servants, selector and instance says where","fix":"give one of them"}}
> command d6 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":[]}
  25 command.refused {"id":"d6","command":"exec.request","refusal":{"code":"invalid","field":"command","rule":"names no program","fix":"give a program and its arguments as a list"}}
> command d7 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["a\u0000b"]}
  26 command.refused {"id":"d7","command":"exec.request","refusal":{"code":"invalid","field":"command","rule":"holds a NUL character, which no argument can","fix":"leave it out"}}
> command d8 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"time_ms":0}}
  27 command.refused {"id":"d8","command":"exec.request","refusal":{"code":"invalid","field":"limits.time_ms","rule":"is 0 ms; from 1 to 86400000","fix":"what shall run for longer is an app: push and deploy it"}}
> command d9 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"time_ms":86400001}}
  28 command.refused {"id":"d9","command":"exec.request","refusal":{"code":"invalid","field":"limits.time_ms","rule":"is 86400001 ms; from 1 to 86400000","fix":"what shall run for longer is an app: push and deploy it"}}
> command d10 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["true"],"limits":{"output_bytes":1073741825}}
  29 command.refused {"id":"d10","command":"exec.request","refusal":{"code":"invalid","field":"limits.output_bytes","rule":"is 1073741825 bytes; at most 1073741824","fix":"write it to a file on the servant"}}
> command d11 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["top"],"stdio":{"terminal":{"size":{"rows":0,"columns":80},"term":"xterm"}}}
  30 command.refused {"id":"d11","command":"exec.request","refusal":{"code":"invalid","field":"stdio.terminal.size","rule":"is 0 by 80; from 1 to 4096 each","fix":"send the size of your terminal"}}
> command d12 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","servants":["s1"],"command":["top"],"stdio":{"terminal":{"size":{"rows":24,"columns":80},"term":"a b"}}}
  31 command.refused {"id":"d12","command":"exec.request","refusal":{"code":"invalid","field":"stdio.terminal.term","rule":"is not 1 to 64 letters, digits and '.', '+', '-', '_'","fix":"send the value of TERM, for example xterm-256color"}}
> command d13 exec.request {"exec":"00000000-0000-0000-0000-0000000000e4","instance":"00000000-0000-0000-0000-0000000000ff","command":["true"]}
  32 command.refused {"id":"d13","command":"exec.request","refusal":{"code":"unknown","field":"instance","rule":"there is no instance 00000000-0000-0000-0000-0000000000ff","fix":"see `kingctl instance ls`"}}

# A servant that is removed will never say how its runs ended.
> command f1 exec.request {"exec":"00000000-0000-0000-0000-0000000000e5","servants":["s1"],"command":["sleep","60"]}
  33 exec.requested {"exec":"00000000-0000-0000-0000-0000000000e5","servants":["@s1"],"command":["sleep","60"],"stdio":"output","limits":{"time_ms":600000,"output_bytes":67108864}}
  34 command.accepted {"id":"f1","command":"exec.request"}
> report foreman servant.lose {"servant":"@s1","silent_ms":3000}
  35 servant.lost {"servant":"@s1","name":"s1","silent_ms":3000}
  verdict: "committed"
> command f2 servant.remove {"servant":"s1"}
  36 servant.removed {"servant":"@s1","name":"s1"}
  37 command.accepted {"id":"f2","command":"servant.remove"}
> query exec.show {"exec":"00000000-0000-0000-0000-0000000000e5"}
  {"actor":"anonymous","cancelled_by":null,"command":["sleep","60"],"exec":"00000000-0000-0000-0000-0000000000e5","instance":null,"left_out":[],"limits":{"output_bytes":67108864,"time_ms":600000},"requested_at":33000,"runs":[{"ended_at":35000,"lost":true,"outcome":{"duration_ms":2000,"end":{"lost":"its servant was removed"},"output_bytes":0},"servant":"@s1"}],"selector":null,"stdio":"output"}
