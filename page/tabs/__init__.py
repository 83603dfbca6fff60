"""The tabs of the page: each module shows one."""
