# What an app tells of itself stands in the log with whose it is, changes nothing else, and is told once.

> servant a 20000-20009
> servant b 20000-20009
> command c1 app.create {"app":"shop"}
> command c2 version.publish {"app":"shop","version":"1.0.0","archive":"0000000000000000000000000000000000000000000000000000000000000001","manifest":{"processes":{"web":{"command":"run"}}}}
> command c3 app.deploy {"app":"shop","version":"1.0.0"}
> report a instance.started {"instance":"i1","pid":1}
> report a instance.emitted {"instance":"i1","name":"order-placed","fields":{"id":7,"total":12.5}}
> again a instance.emitted {"instance":"i1","name":"order-placed","fields":{"id":7,"total":12.5}}
> report a instance.emitted {"instance":"i1","name":"order-placed","fields":{},"dropped":41}

# Not by a servant that does not run it, and not beyond the limits.
> report b instance.emitted {"instance":"i1","name":"order-placed","fields":{}}
> report a instance.emitted {"instance":"i1","name":"deep","fields":{"a":[[[[1]]]]}}

# What is told while it is being stopped is told all the same.
> command c4 app.stop {"app":"shop"}
> report a instance.emitted {"instance":"i1","name":"last-words","fields":{}}
> report a instance.stopped {"instance":"i1"}
> report a instance.emitted {"instance":"i1","name":"from-beyond","fields":{}}
