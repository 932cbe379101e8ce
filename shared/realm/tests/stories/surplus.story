# Scaling down while a servant is lost retires what is lost, and makes no successor for it.

> servant a 20000-20001
  1 servant.joined {"domain":"default","facts":{"servant":"@a","name":"a","capabilities":{},"ports":{"first":20000,"last":20001},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> servant b 20000-20000
  2 servant.joined {"domain":"default","facts":{"servant":"@b","name":"b","capabilities":{},"ports":{"first":20000,"last":20000},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  verdict: "committed"
> command c1 app.create {"app":"shop"}
  3 app.created {"app":"shop"}
  4 command.accepted {"id":"c1","command":"app.create"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","ports":["http"]}}}}
  5 version.published {"app":"shop","version":"1.0.0","commit":null,"archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","count":1,"ports":["http"],"restart":"always","stop_grace_ms":10000}}}}
  6 command.accepted {"id":"c2","command":"version.publish"}
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":3}
  7 release.created {"app":"shop","release":1,"version":"1.0.0","environments":{"web":{}}}
  8 app.deployed {"app":"shop","release":1,"counts":{"web":3}}
  9 instance.placed {"instance":"i1","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20000}}
  10 instance.placed {"instance":"i2","app":"shop","process":"web","release":1,"servant":"@b","ports":{"http":20000}}
  11 instance.placed {"instance":"i3","app":"shop","process":"web","release":1,"servant":"@a","ports":{"http":20001}}
  12 command.accepted {"id":"c3","command":"app.deploy","release":1}
> report a instance.ready {"instance":"i1"}
  13 instance.became-healthy {"instance":"i1"}
  verdict: "committed"
> report b instance.ready {"instance":"i2"}
  14 instance.became-healthy {"instance":"i2"}
  verdict: "committed"
> report a instance.ready {"instance":"i3"}
  15 instance.became-healthy {"instance":"i3"}
  16 app.settled {"app":"shop","release":1}
  verdict: "committed"
> report foreman servant.lose {"servant":"@b","silent_ms":3000}
  17 servant.lost {"servant":"@b","name":"b","silent_ms":3000}
  verdict: "committed"
> command c4 app.scale {"app":"shop","count":2}
  18 app.scaled {"app":"shop","counts":{"web":2}}
  19 instance.retired {"instance":"i2","reason":"scaled-down"}
  20 command.accepted {"id":"c4","command":"app.scale","release":1}
> servant c 20000-20009
  21 servant.joined {"domain":"default","facts":{"servant":"@c","name":"c","capabilities":{},"ports":{"first":20000,"last":20009},"cpus":2,"memory_bytes":1073741824,"boot":"boot-1"}}
  22 app.settled {"app":"shop","release":1}
  verdict: "committed"
> query instance.ls
  {"app":"shop","crashes":0,"instance":"i3","phase":"healthy","pid":null,"ports":{"http":20001},"process":"web","reason":null,"release":1,"servant":"a","since":8000,"version":"1.0.0"}
  {"app":"shop","crashes":0,"instance":"i2","phase":"stopping","pid":null,"ports":{"http":20000},"process":"web","reason":"scaled down","release":1,"servant":"b","since":10000,"version":"1.0.0"}
  {"app":"shop","crashes":0,"instance":"i1","phase":"healthy","pid":null,"ports":{"http":20000},"process":"web","reason":null,"release":1,"servant":"a","since":6000,"version":"1.0.0"}
