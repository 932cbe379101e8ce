# A process type that the new release has no more runs until all that the new release has is well.

> servant a 20000-20009
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  2 app.created {"app":"shop"}
  3 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","ports":["http"]},"worker":{"command":"b"}}}}
  4 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000},"worker":{"command":"b","count":1,"restart":"always","stop_grace_ms":10000}}}}
  5 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
  6 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{},"worker":{}}}
  7 app.deployed {"app":"shop","release":1,"counts":{"web":1,"worker":1}}
  8 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  9 instance.placed {"instance":"i2","app":"shop","process":"worker","release":1,"servant":"@a","ports":{}}
  10 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.ready {"instance":"i1"}
  11 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> report a instance.ready {"instance":"i2"}
  12 instance.became-healthy {"instance":"i2"}
  13 app.settled {"app":"shop","release":1}
  verdict: "committed"
> command c4 version.publish {"app":"shop","version":"2.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","ports":["http"]}}}}
  14 version.published {"app":"shop","version":"2.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000}}}}
  15 command.accepted {"id":"c4","command":"version.publish"}
> command c5 app.deploy {"app":"shop","version":"2.0.0"}
  16 release.created {"app":"shop","release":2,"version":"2.0.0","environments":{"web":{}}}
  17 app.deployed {"app":"shop","release":2,"counts":{"web":1}}
  18 instance.placed {"instance":"i3","app":"shop","process":"web","release":2,"servant":"@a","ports":{"http":20001}}
  19 command.accepted {"id":"c5","command":"app.deploy","release":2}
> assignment a
  run i2 shop/worker release 1 ports 
  run i1 shop/web release 1 ports 20000
  run i3 shop/web release 2 ports 20001
> report a instance.ready {"instance":"i3"}
  20 instance.became-healthy {"instance":"i3"}
  21 instance.retired {"instance":"i1","reason":"replaced"}
  22 instance.retired {"instance":"i2","reason":"replaced"}
  verdict: "committed"
> assignment a
  run i3 shop/web release 2 ports 20001
  stop i2
  stop i1
