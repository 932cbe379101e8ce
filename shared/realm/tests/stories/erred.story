# Errors in the output of instances: told once for each line, also of one that is being stopped, and bounded.

> servant a 20000-20002 node=20.2.0
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{"node":"20.2.0"},"ports":{"first":20000,"last":20002},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js"}},"errors":{"patterns":["slow"]}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"node server.js","count":1,"restart":"always","stop_grace_ms":10000}},"errors":{"patterns":["slow"]}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{}}
  9 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.started {"instance":"i1","pid":1}
  10 instance.started {"instance":"i1","pid":1}
  verdict: "committed"
> report a instance.erred {"instance":"i1","output":"stderr","number":7,"at":5000,"pattern":"error-word","fingerprint":"00c0ffee","headline":"ERROR x","lines":["before","ERROR x"]}
  11 instance.erred {"instance":"i1","output":"stderr","number":7,"read_at":5000,"pattern":"error-word","fingerprint":"00c0ffee","headline":"ERROR x","lines":["before","ERROR x"],"repeats":0,"others":0}
  verdict: "committed"

# A servant that was killed looks at the same line again; the other stream counts by itself.
> report a instance.erred {"instance":"i1","output":"stderr","number":7,"at":5000,"pattern":"error-word","fingerprint":"00c0ffee","headline":"ERROR x","lines":["before","ERROR x"]}
  verdict: "redundant"
> report a instance.erred {"instance":"i1","output":"stdout","number":7,"at":5000,"pattern":"slow","fingerprint":"00c0ffe1","headline":"slow","lines":["slow"],"repeats":3,"others":2}
  12 instance.erred {"instance":"i1","output":"stdout","number":7,"read_at":5000,"pattern":"slow","fingerprint":"00c0ffe1","headline":"slow","lines":["slow"],"repeats":3,"others":2}
  verdict: "committed"

# What could steer a terminal or a mail is refused.
> report a instance.erred {"instance":"i1","output":"stderr","number":8,"at":5000,"pattern":"slow","fingerprint":"00c0ffee","headline":"ERROR\u001b[2J","lines":[]}
  verdict: {"refused":{"code":"invalid","field":"lines","rule":"holds no control characters, and its fingerprint is 1 to 64 letters and digits","fix":"clean it"}}
> report a instance.erred {"instance":"i1","output":"stderr","number":8,"at":5000,"pattern":"slow","fingerprint":"a b","headline":"ERROR","lines":[]}
  verdict: {"refused":{"code":"invalid","field":"lines","rule":"holds no control characters, and its fingerprint is 1 to 64 letters and digits","fix":"clean it"}}

# Also while it is being stopped; not once it is gone.
> command c4 app.stop {"app":"shop"}
  13 app.scaled {"app":"shop","counts":{"web":0}}
  14 instance.retired {"instance":"i1","reason":"scaled-down"}
  15 command.accepted {"id":"c4","command":"app.stop","release":1}
> report a instance.erred {"instance":"i1","output":"stderr","number":9,"at":5000,"pattern":"slow","fingerprint":"00c0ffee","headline":"slow","lines":["slow"]}
  16 instance.erred {"instance":"i1","output":"stderr","number":9,"read_at":5000,"pattern":"slow","fingerprint":"00c0ffee","headline":"slow","lines":["slow"],"repeats":0,"others":0}
  verdict: "committed"
> report a instance.stopped {"instance":"i1"}
  17 instance.stopped {"instance":"i1"}
  18 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report a instance.erred {"instance":"i1","output":"stderr","number":10,"at":5000,"pattern":"slow","fingerprint":"00c0ffee","headline":"slow","lines":["slow"]}
  verdict: "redundant"
