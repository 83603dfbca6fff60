"""Write the sample: `python -m pipedrive_funnel.sample --help`."""

from pipedrive_funnel.sample.generate import main

main()
