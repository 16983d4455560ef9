"""Baselines: what a trained model must beat, measured by the same code."""

# Each baseline and the tasks that it can do; the modules behind them are imported only when asked.
RECOMMENDATION, TOPICS, SEARCH = "recommendation", "topics", "search"
BASELINES: dict[str, tuple[str, ...]] = {
    "popularity": (RECOMMENDATION,),
    "topic-popularity": (RECOMMENDATION,),
    "tf-idf": (RECOMMENDATION, TOPICS, SEARCH),
    "bm25": (SEARCH,),
    "frozen-teacher": (RECOMMENDATION, TOPICS, SEARCH),
    "majority": (TOPICS,),
}
