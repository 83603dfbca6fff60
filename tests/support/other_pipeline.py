"""The files of another company: seven stages, other ids, one call type."""

ODD_NAME = "Trial | <b> $x^2$ & *y*"  # Markdown and HTML could take it for more than text

FILES = {
    "funnel_steps": f"""\
        funnel_step,kpi_name,source,key
        1,Inbound,stage,31
        2,Contacted,stage,12
        2.1,Demo,activity,demo
        3,{ODD_NAME},stage,45
        4,Offer,stage,8
        5,Contract,stage,77
        6,Won,stage,90
        """,
    "stages": f"""\
        stage_id,stage_name
        31,Inbound
        12,Contacted
        45,{ODD_NAME}
        8,Offer
        77,Contract
        90,Won
        99,Parked
        """,
    "activity_types": """\
        id,name,active,type
        5,Demo,Yes,demo
        6,Lunch,Yes,lunch
        """,
    "activity": """\
        activity_id,type,assigned_to_user,deal_id,done,due_to
        1,demo,1,100,True,2023-05-31T23:59:59
        2,demo,1,100,True,2023-05-01T00:00:00
        3,demo,1,200,False,2023-05-01T00:00:00
        4,lunch,1,200,True,2023-05-02T00:00:00
        """,
    "users": """\
        id,name,email,modified
        1,Ann,ann@example.com,2023-01-01 00:00:00
        """,
    "fields": """\
        ID,FIELD_KEY,NAME,FIELD_VALUE_OPTIONS
        1,stage_id,Stage,
        """,
    "deal_changes": """\
        deal_id,change_time,changed_field_key,new_value
        100,2023-04-30 10:00:00,add_time,2023-04-30T10:00:00
        100,2023-04-30 23:59:59,stage_id,31
        100,2023-05-01 00:00:00,stage_id,12
        100,2023-05-03 09:00:00,stage_id,45
        100,2023-06-03 09:00:00,stage_id,90
        200,2023-05-10 10:00:00,add_time,2023-05-10T10:00:00
        200,2023-05-11 10:00:00,stage_id,31
        200,2023-05-12 10:00:00,stage_id,99
        """,
}
