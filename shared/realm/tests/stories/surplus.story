# Scaling down while a servant is lost retires what is lost, and makes no successor for it.

> servant a 20000-20001
> servant b 20000-20000
> command c1 app.create {"app":"shop"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"a","ports":["http"]}}}}
> command c3 app.deploy {"app":"shop","version":"1.0.0","count":3}
> report a instance.ready {"instance":"i1"}
> report b instance.ready {"instance":"i2"}
> report a instance.ready {"instance":"i3"}
> report foreman servant.lose {"servant":"@b","silent_ms":3000}
> command c4 app.scale {"app":"shop","count":2}
> servant c 20000-20009
> query instance.ls
