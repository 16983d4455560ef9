"""Study: every experiment of the result tables, run one after another and written up."""
