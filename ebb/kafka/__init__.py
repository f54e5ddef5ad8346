"""The one way to Kafka: configuration, creation of topics, producers, readers, followers, fenced writes, Faust."""
